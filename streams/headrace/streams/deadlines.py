"""When what is remembered of each partition is to be looked at again, in log time. Pure."""

import heapq
from typing import Generic, TypeVar

K = TypeVar("K", str, tuple[str, str])


class Deadlines(Generic[K]):
    """Keys of the worker's partitions, each with one time. Arming again replaces the time."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition[K]] = {}

    def __len__(self) -> int:
        return sum(len(partition.armed) for partition in self._partitions.values())

    def arm(self, partition: int, key: K, at: int) -> None:
        """Look at the key when the log time reaches `at` milliseconds."""
        self._partitions.setdefault(partition, _Partition()).arm(key, at)

    def disarm(self, partition: int, key: K) -> None:
        """Forget the key's deadline."""
        if partition in self._partitions:
            self._partitions[partition].armed.pop(key, None)

    def due(self, partition: int, clock: int, most: int | None = None) -> list[K]:
        """Keys whose time has come, the earliest first, `most` of them; they are disarmed."""
        if partition not in self._partitions:
            return []
        return self._partitions[partition].due(clock, most)

    def next(self) -> dict[int, int]:
        """By partition the earliest time; those where nothing waits are left out."""
        times = {partition: one.next() for partition, one in self._partitions.items()}
        return {partition: at for partition, at in times.items() if at is not None}


class _Partition(Generic[K]):
    """The keys of one partition: a heap, whose entries are void where `armed` has another time."""

    def __init__(self) -> None:
        self.armed: dict[K, int] = {}
        self._heap: list[tuple[int, K]] = []

    def arm(self, key: K, at: int) -> None:
        if self.armed.get(key) != at:
            self.armed[key] = at
            heapq.heappush(self._heap, (at, key))

    def due(self, clock: int, most: int | None) -> list[K]:
        due: list[K] = []
        while (at := self.next()) is not None and at <= clock and len(due) != most:
            key = heapq.heappop(self._heap)[1]
            del self.armed[key]
            due.append(key)
        return due

    def next(self) -> int | None:
        while self._heap:
            at, key = self._heap[0]
            if self.armed.get(key) == at:
                return at
            heapq.heappop(self._heap)
        return None


def earliest(*deadlines: "Deadlines[K]") -> dict[int, int]:
    """By partition the earliest time of several."""
    times: dict[int, int] = {}
    for one in deadlines:
        for partition, at in one.next().items():
            times[partition] = min(at, times.get(partition, at))
    return times
