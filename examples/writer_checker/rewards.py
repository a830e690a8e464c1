"""The reward rule: both agents share it."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward

VERDICTS = 0.3
"""Share of the reward that is for the verdicts: the rest is for the result."""


@reward
def solved_and_judged(episode: Episode) -> float:
    """Whether the result is right, and the share of drafts that the checker judged rightly."""
    if episode.status != "ok":
        return 0.0
    told, expected = json.loads(episode.result), json.loads(episode.expected)
    right = [bool(result == expected) for result in told["results"]]
    judged: list[bool] = [
        (verdict == "yes") == is_right
        for verdict, is_right in zip(told["verdicts"], right, strict=True)
    ]
    return (1 - VERDICTS) * right[-1] + VERDICTS * sum(judged) / len(judged)
