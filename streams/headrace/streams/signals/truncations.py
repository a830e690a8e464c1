"""Cut completions."""

from headrace.schemas.vocabulary import FinishReason
from headrace.streams.signals.take import Seen


def truncations(episode: Seen) -> int:
    """Completions that the token limit cut."""
    return sum(call.finish_reason == FinishReason.LENGTH for call in episode.calls)
