"""The reward rule: the three agents share it."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward

PLANNED = 0.2
"""Share of the reward that is for a plan of two steps that could be taken."""


@reward
def solved_as_planned(episode: Episode) -> float:
    """Whether the result is right, and whether both steps of a plan of two were calculated."""
    if episode.status != "ok":
        return 0.0
    told = json.loads(episode.result)
    right: bool = told["result"] == json.loads(episode.expected)
    planned: bool = len(told["plan"]) == len(told["done"]) == 2
    return (1 - PLANNED) * right + PLANNED * planned
