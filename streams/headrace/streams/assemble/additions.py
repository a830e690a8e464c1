"""A take's spans on their way into the sets, episode by episode. Pure."""

import numpy as np

from headrace.schemas.spans import Array
from headrace.streams.assemble.episode import EpisodeState, Limits
from headrace.streams.assemble.keys import Grouped


class Additions:
    """A grouped batch with its per-episode sums, ready to be added episode by episode."""

    def __init__(self, grouped: Grouped) -> None:
        self.grouped = grouped
        first = grouped.starts[:-1]
        gaps = np.diff(grouped.log_time, prepend=grouped.log_time[:1])
        gaps[first] = 0
        self.starts: list[int] = grouped.starts.tolist()
        self.ids: list[int] = grouped.span_id.tolist()
        self.sums: list[int] = np.add.reduceat(grouped.mixed, first).tolist()
        self.widest: list[int] = np.maximum.reduceat(gaps, first).tolist()
        self.ended: list[bool] = np.logical_or.reduceat(grouped.ended, first).tolist()
        self.bounds: list[int] = np.minimum.reduceat(grouped.bound, first).tolist()
        self.log_first: list[int] = grouped.log_time[first].tolist()
        self.log_last: list[int] = np.maximum.reduceat(grouped.log_time, first).tolist()
        self._partitions: list[int] = grouped.partition[first].tolist()

    def partition(self, slot: int) -> int:
        """The partition in which the episode lives."""
        return self._partitions[slot]

    def rows(self, slot: int) -> Array:
        """The batch's rows of the slot."""
        return self.grouped.row[self.starts[slot] : self.starts[slot + 1]]

    def add(self, state: EpisodeState, slot: int, limits: Limits) -> Array:
        """Add the slot's spans to its episode; returns the batch's rows that were new."""
        low, high = self.starts[slot], self.starts[slot + 1]
        ids = self.ids[low:high]
        if state.takes_plainly(
            ids,
            first=self.log_first[slot],
            last=self.log_last[slot],
            widest=self.widest[slot],
            bound=self.bounds[slot],
            limits=limits,
        ):
            state.add_all(
                ids,
                mixed=self.sums[slot],
                first=self.log_first[slot],
                last=self.log_last[slot],
                ended=self.ended[slot],
                bound=self.bounds[slot],
            )
            return self.grouped.row[low:high]
        return self._add_singly(state, low, high, limits)

    def _add_singly(self, state: EpisodeState, low: int, high: int, limits: Limits) -> Array:
        grouped = self.grouped
        kept = [
            index
            for index in range(low, high)
            if state.add(
                self.ids[index],
                mixed=int(grouped.mixed[index]),
                log_time=int(grouped.log_time[index]),
                ended=bool(grouped.ended[index]),
                bound=int(grouped.bound[index]),
                limits=limits,
            )
        ]
        return grouped.row[kept]
