"""The reward rule of the calculator agent: what a user of headrace writes."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward
def calculator(episode: Episode) -> float:
    """1 if the executed call gives the expected number, else 0; a crash gives nothing right."""
    if episode.status != "ok":
        return 0.0
    return float(json.loads(episode.result)["result"] == json.loads(episode.expected))
