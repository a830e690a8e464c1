"""The reward rule of the calculator agent on AutoGen."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward
def calculator_autogen(episode: Episode) -> float:
    """1 if the agent's answer is the expected number, else 0; a crash gives nothing right."""
    if episode.status != "ok":
        return 0.0
    told = json.loads(episode.result)["result"].strip()
    return float(told == str(json.loads(episode.expected)))
