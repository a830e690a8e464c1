"""Prompts without their beginning."""

from headrace.schemas.vocabulary import Untrainable
from headrace.streams.signals.take import Seen


def missing_base(episode: Seen) -> int:
    """Calls whose prompt extends one of which nobody has the tokens."""
    return sum(call.untrainable_reason == Untrainable.MISSING_BASE for call in episode.calls)
