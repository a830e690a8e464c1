"""Empty completions."""

from headrace.schemas.vocabulary import SpanStatus
from headrace.streams.signals.take import Seen


def empty_completions(episode: Seen) -> int:
    """Calls that were answered with nothing, or with white space."""
    return sum(
        call.status != SpanStatus.ERROR
        and (call.output.isspace() or (call.completion_tokens == 0 and call.output == ""))
        for call in episode.calls
    )
