"""The reward rule of the text-to-SQL agent."""

import json

from examples.text_to_sql.databases import equal
from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward
def text_to_sql(episode: Episode) -> float:
    """1 if the last query gives the expected rows, in any order, else 0."""
    if episode.status != "ok":
        return 0.0
    rows = json.loads(episode.result)["rows"]
    return float(rows is not None and equal(rows, json.loads(episode.expected)))
