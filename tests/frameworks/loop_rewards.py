"""The reward rule of a framework's agent."""

from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward(version=1)
def answered(episode: Episode) -> float:
    """Whether the result names the expected number."""
    return float(episode.expected in episode.result)
