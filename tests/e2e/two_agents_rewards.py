"""A reward for the two agents that a model of random weights earns now and then."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward
def letters(episode: Episode) -> float:
    """Distinct characters of the first draft, of 32; an agent that crashed: none."""
    if episode.status != "ok":
        return 0.0
    return len(set(json.loads(episode.result)["drafts"][0])) / 32
