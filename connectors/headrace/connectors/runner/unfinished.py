"""Which offsets may be committed while records finish out of order."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Partition:
    running: set[int] = field(default_factory=set)
    next: int = 0
    committed: int = -1


class Unfinished:
    """Commits up to the first record that has not finished. No Kafka here; not thread-safe."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def started(self, partition: int, offset: int) -> None:
        """A record was taken."""
        state = self._partitions.setdefault(partition, _Partition())
        state.running.add(offset)
        state.next = max(state.next, offset + 1)

    def finished(self, partition: int, offset: int) -> None:
        """A record needs no other try. Ignored for a partition that was lost meanwhile."""
        if partition in self._partitions:
            self._partitions[partition].running.discard(offset)

    def committable(self) -> dict[int, int]:
        """Partition -> offset to commit, where that is news."""
        news = {}
        for number, state in self._partitions.items():
            offset = min(state.running, default=state.next)
            if offset > state.committed and offset > 0:
                state.committed = offset
                news[number] = offset
        return news

    def holds(self, partition: int) -> bool:
        """Whether this runner has records of a partition that nobody else reads."""
        return partition in self._partitions

    def lost(self, partitions: Iterable[int]) -> None:
        """Somebody else reads these partitions now."""
        for partition in partitions:
            self._partitions.pop(partition, None)
