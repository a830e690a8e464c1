"""Failed calls."""

from headrace.schemas.vocabulary import SpanStatus
from headrace.streams.signals.take import Seen


def call_errors(episode: Seen) -> int:
    """Calls that brought an error instead of a completion."""
    return sum(call.status == SpanStatus.ERROR for call in episode.calls)
