"""A call as the gateway saw it, and its spans. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.connectors.gateway.conversation import Answer
from headrace.connectors.gateway.correlation import Correlation
from headrace.connectors.gateway.errors import CallFailed
from headrace.connectors.privacy import Hidden
from headrace.connectors.privacy.spans import without
from headrace.schemas import Call, Span
from headrace.schemas.vocabulary import SpanKind, SpanStatus, Untrainable


@dataclass(kw_only=True, slots=True, frozen=True)
class IncomingCall:
    """A call before its backend is asked."""

    span_id: str
    """Of the first choice; the response id names it."""
    response_id: str
    correlation: Correlation
    model: str
    """As the client named it."""
    version: int | None = None
    """The policy's version that answers; None: the one that its traffic says."""
    selected: bool = True
    """Whether its agent's calls are trained."""
    content: Any
    """What it says, for the span: messages or a prompt."""
    started_at: int
    """Nanoseconds since the epoch."""
    operation: str = "chat"
    """What it is by OpenTelemetry's GenAI names."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What else its spans should say."""
    hidden: frozenset[Hidden] = frozenset()
    """What the client hides of it."""


@dataclass(kw_only=True, slots=True, frozen=True)
class AnsweredCall:
    """One choice of an answer: a call of its own."""

    span_id: str
    call: Call
    output: str
    """The answer's text."""
    status: str = SpanStatus.OK
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What else its span should say, by OpenTelemetry's GenAI names."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Completion:
    """What our engine made of a request."""

    answer: Answer
    calls: tuple[AnsweredCall, ...]
    """One a choice, in their order."""


def completed_span(asked: IncomingCall, answered: AnsweredCall, ended_at: int) -> Span:
    """The span of a call that was answered."""
    usage = {
        "gen_ai.usage.input_tokens": answered.prompt_tokens,
        "gen_ai.usage.output_tokens": answered.completion_tokens,
    }
    return _span(
        asked,
        ended_at,
        span_id=answered.span_id,
        call=answered.call,
        status=answered.status,
        output=answered.output,
        attributes={**usage, **answered.attributes},
    )


def failed_span(asked: IncomingCall, error: CallFailed, ended_at: int, *, output: str = "") -> Span:
    """The span of a call whose backend brought nothing, or not all of it (`output`)."""
    call = Call(model=asked.model, **no_tokens(), untrainable_reason=Untrainable.CALL_FAILED)
    facts = {"error.type": error.code, "error.message": error.message}
    return _span(
        asked,
        ended_at,
        span_id=asked.span_id,
        call=call,
        status=SpanStatus.ERROR,
        output=output,
        attributes=facts,
    )


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
    span_id: str,
    call: Call,
    status: str,
    output: str,
    attributes: Mapping[str, Any],
) -> Span:
    named = {"gen_ai.operation.name": asked.operation, "gen_ai.request.model": asked.model}
    where = asked.correlation
    span = Span(
        project=where.project,
        rollout_id=where.rollout_id,
        attempt=where.attempt,
        span_id=span_id,
        parent_id=where.parent_id,
        kind=SpanKind.CALL,
        name=asked.operation,
        agent=where.agent,
        status=status,
        started_at=asked.started_at,
        ended_at=ended_at,
        attributes=to_json({**named, **asked.attributes, **attributes}),
        input=to_json(asked.content),
        output=output,
        call=call,
    )
    # Whether tools are among the tokens only the backend knows.
    return without(span, asked.hidden - {Hidden.TOOLS})
