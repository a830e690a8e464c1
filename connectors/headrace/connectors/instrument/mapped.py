"""A record of a journal as a span of its attempt."""

from headrace.connectors.instrument.records import OwnSpan
from headrace.connectors.mapping import SourceSpan
from headrace.connectors.sdk import Attempt
from headrace.connectors.sdk.attempt import reward_fields
from headrace.connectors.sdk.described import as_attributes
from headrace.schemas.vocabulary import SpanKind

_TOOLS = ("execute_tool", "TOOL")


def record_source(attempt: Attempt, span: SourceSpan) -> None:
    """Emit a span of OpenTelemetry."""
    facts = span.attributes
    is_tool = (
        facts.get("gen_ai.operation.name") in _TOOLS
        or facts.get("openinference.span.kind") in _TOOLS
    )
    attempt.record(
        SpanKind.TOOL if is_tool else SpanKind.SPAN,
        span.name,
        span_id=span.span_id,
        parent_id=span.parent_id or attempt.root,
        agent=str(facts.get("gen_ai.agent.name") or attempt.agent),
        started_at=span.started_at,
        ended_at=span.ended_at,
        status=span.status,
        attributes=as_attributes(facts),
        input=facts.get("gen_ai.tool.call.arguments", facts.get("input.value")),
        output=facts.get("gen_ai.tool.call.result", facts.get("output.value"))
        or span.status_message,
    )


def record_own(attempt: Attempt, span: OwnSpan) -> None:
    """Emit a span of our own lines."""
    fields = {
        "span_id": span.span_id,
        "parent_id": span.parent_id or attempt.root,
        "started_at": span.started_at,
        "ended_at": span.ended_at,
    }
    if span.kind == SpanKind.REWARD:
        fields |= reward_fields(span.name, span.value, "", span.target)
        attempt.record(SpanKind.REWARD, span.name, **fields)
        return
    attempt.record(
        span.kind,
        span.name,
        status=span.status,
        input=span.input,
        output=span.output,
        attributes="" if span.attributes is None else as_attributes(span.attributes),
        **fields,
    )
