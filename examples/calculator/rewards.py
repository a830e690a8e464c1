"""The reward rule of the calculator agent: what a user of headrace writes."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward
def calculator(episode: Episode) -> float | None:
    """1 if the executed call gives the expected number, else 0; an agent that crashed: none."""
    if episode.status != "ok":
        return None
    return float(json.loads(episode.result)["result"] == json.loads(episode.expected))
