"""Export requests as agents' exporters send them, made before anything is measured."""

import random
from collections.abc import Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

_EPISODE = 16  # spans of an attempt
_START = 1_764_000_000_000_000_000


def requests(
    spans: int, per_request: int, text_bytes: int, prefix: str, seed: int = 0
) -> Iterator[bytes]:
    """Bodies with so many spans in all; `prefix` begins the ids of their rollouts.

    An attempt is an agent's span, calls that the gateway answered, and tools.
    """
    chance = random.Random(seed)
    text = "".join(chance.choices("abcdefghij klmnop", k=text_bytes))
    done = 0
    while done < spans:
        request = ExportTraceServiceRequest()
        for number in range(done, min(done + per_request, spans), _EPISODE):
            told = request.resource_spans.add()
            _add(told.resource.attributes, "headrace.rollout_id", f"{prefix}-{number}")
            _add(told.resource.attributes, "headrace.attempt", "a1")
            _add(told.resource.attributes, "service.name", "agent")
            scope = told.scope_spans.add()
            scope.scope.name = "opentelemetry.instrumentation.genai"
            _attempt(scope, min(_EPISODE, spans - number), text, chance)
        done += per_request
        yield request.SerializeToString()


def _attempt(scope: ScopeSpans, count: int, text: str, chance: random.Random) -> None:
    trace = chance.randbytes(16)
    root = chance.randbytes(8)
    for number in range(count):
        span = scope.spans.add(
            trace_id=trace,
            span_id=chance.randbytes(8) if number else root,
            parent_span_id=root if number else b"",
            start_time_unix_nano=_START + number,
            end_time_unix_nano=_START + number + 1,
        )
        half = len(text) // 2
        if number == 0:
            span.name = "invoke_agent solver"
            facts = {"operation.name": "invoke_agent", "agent.name": "solver"}
        elif number % 2:
            span.name = "chat policy"
            facts = {
                "operation.name": "chat",
                "provider.name": "openai",
                "request.model": "policy",
                "response.model": "policy",
                "response.id": f"chatcmpl-{chance.randbytes(8).hex()}",
                "input.messages": text[:half],
                "output.messages": text[half:],
            }
            for side in ("input", "output"):
                span.attributes.add(key=f"gen_ai.usage.{side}_tokens").value.int_value = number
        else:
            span.name = "execute_tool search"
            facts = {
                "operation.name": "execute_tool",
                "tool.name": "search",
                "tool.type": "function",
                "tool.call.id": f"call_{number}",
                "tool.call.arguments": text[:half],
                "tool.call.result": text[half:],
            }
        for name, value in facts.items():
            _add(span.attributes, f"gen_ai.{name}", value)


def _add(attributes, name: str, value: str) -> None:  # type: ignore[no-untyped-def]  # protobuf's repeated field has no name
    attributes.add(key=name).value.string_value = value
