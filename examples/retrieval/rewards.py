"""The reward rule of the retrieval agent."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward

FOUND = 0.3
"""Share of the reward that is for finding the passage: the rest is for the answer."""


@reward
def retrieval(episode: Episode) -> float:
    """Whether a search found the passage, and whether the answer is the fact and nothing else."""
    if episode.status != "ok":
        return 0.0
    told, expected = json.loads(episode.result), json.loads(episode.expected)
    answer = told["answer"].strip().rstrip(".").casefold()
    found: bool = expected["passage"] in told["passages"]
    right: bool = answer == expected["answer"].strip().rstrip(".").casefold()
    return FOUND * found + (1 - FOUND) * right
