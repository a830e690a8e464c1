"""A call as the gateway saw it, and its span. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.connectors.gateway.correlation import Correlation
from headrace.connectors.gateway.errors import CallFailed
from headrace.schemas import Call, Span
from headrace.schemas.vocabulary import SpanKind, SpanStatus, Untrainable

_SPAN_NAME = "chat"


@dataclass(kw_only=True, slots=True, frozen=True)
class Completion:
    """What a backend made of a request."""

    body: bytes
    """The answer's JSON."""
    status: int = 200
    call: Call
    output: str
    """The answer's text."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What else its span should say, by OpenTelemetry's GenAI names."""


@dataclass(kw_only=True, slots=True, frozen=True)
class IncomingCall:
    """A call before its backend is asked."""

    span_id: str
    correlation: Correlation
    model: str
    """As the client named it."""
    messages: list[Any]
    started_at: int
    """Nanoseconds since the epoch."""


def completed_span(asked: IncomingCall, completion: Completion, ended_at: int) -> Span:
    """The span of a call that was answered."""
    usage = {
        "gen_ai.usage.input_tokens": completion.prompt_tokens,
        "gen_ai.usage.output_tokens": completion.completion_tokens,
    }
    return _span(
        asked,
        ended_at,
        call=completion.call,
        status=SpanStatus.OK if completion.status < 400 else SpanStatus.ERROR,
        output=completion.output,
        attributes={**usage, **completion.attributes},
    )


def failed_span(asked: IncomingCall, error: CallFailed, ended_at: int) -> Span:
    """The span of a call whose backend brought nothing."""
    call = Call(model=asked.model, **no_tokens(), untrainable_reason=Untrainable.CALL_FAILED)
    facts = {"error.type": error.code, "error.message": error.message}
    return _span(asked, ended_at, call=call, status=SpanStatus.ERROR, output="", attributes=facts)


def no_tokens() -> dict[str, Any]:
    """The token columns of a call whose tokens are not known."""
    return {
        "prompt_ids": np.empty(0, dtype="<u4"),
        "sampled_ids": np.empty(0, dtype="<u4"),
        "logprobs": np.empty(0, dtype="<f4"),
    }


def to_json(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _span(
    asked: IncomingCall,
    ended_at: int,
    *,
    call: Call,
    status: str,
    output: str,
    attributes: Mapping[str, Any],
) -> Span:
    named = {"gen_ai.operation.name": "chat", "gen_ai.request.model": asked.model}
    where = asked.correlation
    return Span(
        project=where.project,
        rollout_id=where.rollout_id,
        attempt=where.attempt,
        span_id=asked.span_id,
        kind=SpanKind.CALL,
        name=_SPAN_NAME,
        agent=where.agent,
        status=status,
        started_at=asked.started_at,
        ended_at=ended_at,
        attributes=to_json({**named, **attributes}),
        input=to_json(asked.messages),
        output=output,
        call=call,
    )
