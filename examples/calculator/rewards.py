"""The reward rule of the calculator agent: what a user of headrace writes."""

import json

from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward
def calculator(episode: Episode) -> float:
    """1 if the executed call gives the expected number, else 0; a crash gives nothing right.

    Whoever looked at the answer has the last word: a thumb up is 1, a thumb down 0.
    """
    if thumbs := [given.value for given in episode.rewards if given.name == "thumbs"]:
        return float(thumbs[-1] > 0)
    if episode.status != "ok":
        return 0.0
    return float(json.loads(episode.result)["result"] == json.loads(episode.expected))
