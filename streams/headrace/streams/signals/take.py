"""What signals are computed from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.schemas import EpisodeCall, EpisodeReward, EpisodeTool
from headrace.schemas.spans import Array
from headrace.streams.cells import cells, has_word


@dataclass(kw_only=True, slots=True, frozen=True)
class Seen:
    """One episode as its spans tell it."""

    rollout_id: str
    attempt: str
    has_start: bool
    deadline: int = 0
    """As its start told it, in milliseconds; 0: none."""
    log_first: int = 0
    """Log time of its first span, in milliseconds."""
    calls: Sequence[EpisodeCall]
    tools: Sequence[EpisodeTool]
    rewards: Sequence[EpisodeReward]


@dataclass(kw_only=True, slots=True, frozen=True)
class Take:
    """The episodes of a take: n spans in the layout of the table `spans`, and what they tell.

    slot [n]: the episode of each span.
    """

    spans: pa.RecordBatch
    slot: Array
    episodes: Sequence[Seen]
    _found: dict[tuple[str, str], Array] = field(default_factory=dict)

    def where(self, column: str, value: str) -> Array:
        """Which spans have a value in a column of words, bool [n]. Not to be written to."""
        found = self._found.get((column, value))
        if found is None:
            found = self._found[column, value] = has_word(self.spans.column(column), value)
        return found

    def matching(self, chosen: Array, column: str, pattern: str) -> Array:
        """Which of the chosen spans, bool [n], have a text in which a pattern is found (RE2)."""
        rows = np.flatnonzero(chosen)
        found = np.zeros(len(chosen), dtype=bool)
        if len(rows):
            texts = pa.array([text for (text,) in cells(self.spans, rows, [column])], pa.string())
            hit = pc.match_substring_regex(texts, pattern).fill_null(False)
            found[rows] = hit.to_numpy(zero_copy_only=False)
        return found

    def count(self, chosen: Array) -> list[int]:
        """How many of the chosen spans, bool [n], each episode has."""
        if not chosen.any():
            return [0] * len(self.episodes)
        counts: list[int] = np.bincount(self.slot[chosen], minlength=len(self.episodes)).tolist()
        return counts


Signal = Callable[[Take], Sequence[int]]
"""A count for each episode of a take."""


def each(signal: Callable[[Seen], int]) -> Signal:
    """The signal of a function of one episode."""
    return lambda take: [signal(episode) for episode in take.episodes]
