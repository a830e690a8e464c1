"""The reward rules of the recovery agent: with the signals, and without."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward

STUCK = 3
"""So many failures a loop counts."""
WORST = 6
"""Failures with which nothing is calm any more: three turns that fail, in a loop."""


@reward(weights={"solved": 0.7, "calm": 0.3})
def recovery(episode: Episode) -> dict[str, float]:
    """The result, and what the signals say: failures of tools, loops. A crash is the worst."""
    if episode.status != "ok":
        return {"solved": 0.0, "calm": 0.0}
    return {"solved": float(_is_solved(episode)), "calm": _calm(episode)}


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
