"""The reward rules of the recovery agent: with the signals, and without."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward

SOLVED = 0.7
"""Share of the reward that is for the result: the rest is for how little went wrong."""
STUCK = 3
"""So many failures a loop counts."""
WORST = 6
"""Failures with which nothing is left of that part: three turns that fail, in a loop."""


@reward
def recovery(episode: Episode) -> float:
    """The result, and what the signals say: failures of tools, loops. A crash is the worst."""
    if episode.status != "ok":
        return 0.0
    return SOLVED * _is_solved(episode) + (1 - SOLVED) * _calm(episode)


@reward
def solved(episode: Episode) -> float:
    """The result alone."""
    return float(episode.status == "ok" and _is_solved(episode))


def _is_solved(episode: Episode) -> bool:
    return bool(json.loads(episode.result)["result"] == json.loads(episode.expected))


def _calm(episode: Episode) -> float:
    # A turn that calls nothing is a failure of a tool, too: saying nothing gains nothing.
    failures = episode.signals.get("tool_errors", 0)
    stuck = STUCK * min(1, episode.signals.get("stuck_loops", 0))
    return max(0.0, 1 - (failures + stuck) / WORST)
