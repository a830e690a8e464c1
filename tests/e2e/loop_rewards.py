"""The reward rule of the loop's agent."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward(version=3)
def variety(episode: Episode) -> float | None:
    """Distinct characters in the draft, of 32; an agent that crashed: none."""
    if episode.status != "ok":
        return None
    return len(set(json.loads(episode.result)["draft"])) / 32
