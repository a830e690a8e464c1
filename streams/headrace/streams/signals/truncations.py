"""Cut completions."""

from headrace.schemas.vocabulary import FinishReason
from headrace.streams.signals.take import Seen

_CUT = {FinishReason.LENGTH, "max_tokens", "max_output_tokens", "MAX_TOKENS"}
"""As our engines, OpenAI, Anthropic and Google say it."""


def truncations(episode: Seen) -> int:
    """Completions that the token limit cut."""
    return sum(call.finish_reason in _CUT for call in episode.calls)
