"""A record of a journal as spans of its attempt."""

from headrace.connectors.commands.records import GivenReward, Raised
from headrace.connectors.described import as_attributes
from headrace.connectors.mapping import Place, SourceSpan, map_span
from headrace.connectors.rewards import reward_fields
from headrace.connectors.sdk import Attempt
from headrace.schemas.vocabulary import SpanKind, SpanStatus


def record_source(attempt: Attempt, span: SourceSpan, *, redirected: bool) -> None:
    """Emit what a span of OpenTelemetry says; `redirected`: the gateway sees the model calls.

    It is of this attempt, whatever it says itself.
    """
    place = Place(
        project=attempt.project,
        rollout_id=attempt.rollout_id,
        attempt=attempt.attempt,
        root=attempt.root,
    )
    for one in map_span(span, place=place, calls_are_seen=redirected).spans:
        attempt.keep(one)


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


def record_raised(attempt: Attempt, raised: Raised) -> None:
    """Emit the exception that ended a process."""
    attempt.record(
        SpanKind.EXCEPTION,
        raised.name,
        span_id=raised.span_id,
        parent_id=raised.parent_id or attempt.root,
        started_at=raised.at,
        ended_at=raised.at,
        status=SpanStatus.ERROR,
        output=raised.trace,
        attributes=as_attributes(
            {"exception.type": raised.name, "exception.message": raised.message}
        ),
    )
