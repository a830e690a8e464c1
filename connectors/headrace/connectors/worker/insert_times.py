"""How long inserts of this process took, by table: for whoever tells how a worker fares."""

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(slots=True)
class InsertTimes:
    """Of one table; a failed insert counts with the time until it failed."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    """Inserts by their bucket, the last beyond all of `BUCKETS_S`."""
    seconds: float = 0.0
    failed: int = 0

    @property
    def inserts(self) -> int:
        """How many."""
        return sum(self.counts)


class InsertClock:
    """Times of all tables. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, InsertTimes] = {}

    def add(self, table: str, seconds: float, *, failed: bool) -> None:
        """One insert is over."""
        with self._lock:
            times = self._tables.setdefault(table, InsertTimes())
            times.counts[bisect_left(BUCKETS_S, seconds)] += 1
            times.seconds += seconds
            times.failed += failed

    def tables(self) -> Mapping[str, InsertTimes]:
        """By table, as of now."""
        with self._lock:
            return {
                name: InsertTimes(list(one.counts), one.seconds, one.failed)
                for name, one in self._tables.items()
            }


INSERTS = InsertClock()
"""Of this process."""
