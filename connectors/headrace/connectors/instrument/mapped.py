"""A record of a journal as a span of its attempt."""

from headrace.connectors.instrument.records import GivenReward
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


def record_reward(attempt: Attempt, given: GivenReward) -> None:
    """Emit a reward."""
    attempt.record(
        SpanKind.REWARD,
        given.name,
        span_id=given.span_id,
        parent_id=given.parent_id or attempt.root,
        started_at=given.at,
        ended_at=given.at,
        **reward_fields(given.name, given.value, "", given.target),
    )
