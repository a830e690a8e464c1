"""Tasks that wait for another attempt. No Kafka here, no clock; not thread-safe."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headrace.schemas import Task


@dataclass(kw_only=True, slots=True, frozen=True)
class Taken:
    """A task that this runner has taken from the log, and which attempt at it is due."""

    task: Task
    partition: int
    offset: int
    number: int = 1

    @property
    def where(self) -> tuple[int, int]:
        """Partition and offset of its record."""
        return self.partition, self.offset


class Waiting:
    """Tasks by the time when their next attempt is due; in any unit, with any zero."""

    def __init__(self) -> None:
        self._due: list[tuple[float, Taken]] = []

    def __len__(self) -> int:
        return len(self._due)

    def add(self, taken: Taken, due: float) -> None:
        """An attempt is due at that time."""
        self._due.append((due, taken))

    def due(self, now: float, over: Callable[[Task], object] = lambda _: False) -> Taken | None:
        """The task that has been due longest, which then waits no more.

        What is `over` need not wait for its time.
        """
        first = min(
            (one for one in self._due if one[0] <= now or over(one[1].task)),
            key=lambda one: one[0],
            default=None,
        )
        if first is None:
            return None
        self._due.remove(first)
        return first[1]

    def lost(self, partitions: Iterable[int]) -> None:
        """Somebody else reads these partitions now, and runs their tasks."""
        gone = set(partitions)
        self._due = [one for one in self._due if one[1].partition not in gone]
