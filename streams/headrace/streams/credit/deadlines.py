"""When each open group of a partition is due, in log time."""

import heapq

from headrace.streams.credit.state import GroupKey


class Deadlines:
    """Groups with the time at which each is to be looked at again. Re-arming replaces the time."""

    def __init__(self) -> None:
        self._armed: dict[GroupKey, int] = {}
        self._heap: list[tuple[int, GroupKey]] = []

    def __len__(self) -> int:
        return len(self._armed)

    def arm(self, key: GroupKey, at: int) -> None:
        """Look at the group when the log time reaches `at` milliseconds."""
        if self._armed.get(key) != at:
            self._armed[key] = at
            heapq.heappush(self._heap, (at, key))

    def disarm(self, key: GroupKey) -> None:
        """Forget the group's deadline."""
        self._armed.pop(key, None)

    def due(self, clock: int) -> list[GroupKey]:
        """Groups whose time has come; they are disarmed."""
        due = []
        while (at := self.next()) is not None and at <= clock:
            key = heapq.heappop(self._heap)[1]
            del self._armed[key]
            due.append(key)
        return due

    def next(self) -> int | None:
        """The earliest time, or None where nothing waits."""
        while self._heap:
            at, key = self._heap[0]
            if self._armed.get(key) == at:
                return at
            heapq.heappop(self._heap)
        return None
