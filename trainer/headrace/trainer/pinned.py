"""The lowest offsets of what is still undecided, per partition. Pure."""

import heapq
from collections import Counter
from typing import NamedTuple


class Position(NamedTuple):
    """A record's place in the log."""

    topic: str
    partition: int
    offset: int
    log_time: int = 0
    """Milliseconds since the epoch, given by the broker."""


class Pinned:
    """Positions that are needed; the lowest of each partition costs no walk over all of them."""

    def __init__(self) -> None:
        self._heaps: dict[tuple[str, int], list[int]] = {}
        self._needed: Counter[tuple[str, int, int]] = Counter()

    def add(self, position: Position) -> None:
        """The record is needed, once more if it is already."""
        place = position[:3]
        self._needed[place] += 1
        if self._needed[place] == 1:
            heapq.heappush(self._heaps.setdefault(position[:2], []), position.offset)

    def remove(self, position: Position) -> None:
        """It is needed once less."""
        place = position[:3]
        self._needed[place] -= 1
        if self._needed[place] <= 0:
            del self._needed[place]

    def lowest(self) -> dict[tuple[str, int], int]:
        """The lowest needed offset per (topic, partition)."""
        found = {}
        for where, heap in self._heaps.items():
            while heap and (*where, heap[0]) not in self._needed:
                heapq.heappop(heap)
            if heap:
                found[where] = heap[0]
        return found

    def clear(self) -> None:
        """Nothing is needed."""
        self._heaps.clear()
        self._needed.clear()
