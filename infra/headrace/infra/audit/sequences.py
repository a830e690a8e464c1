"""Producers' gapless numbers, by producer and partition. Pure."""

from collections.abc import Iterator

Range = tuple[int, int]
"""From and to, both included."""


class Sequences:
    """The numbers of the batches that the log holds. Repetitions change nothing."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], list[Range]] = {}

    def add(self, producer: str, partition: int, sequence: int) -> None:
        """A batch was read."""
        ranges = self._seen.setdefault((producer, partition), [])
        if ranges and sequence == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], sequence)
        elif not ranges or not ranges[-1][0] <= sequence <= ranges[-1][1]:
            ranges.append((sequence, sequence))

    @property
    def producers(self) -> int:
        """How many incarnations wrote."""
        return len({producer for producer, _ in self._seen})

    def holes(self, first: int | None) -> Iterator[tuple[str, int, Range]]:
        """Producer, partition and numbers that are not there.

        first: the number that every producer begins with; None where the log's beginning is gone,
        and a producer's first one may be with it.
        """
        for (producer, partition), ranges in sorted(self._seen.items()):
            expected = min(start for start, _ in ranges) if first is None else first
            for start, end in sorted(ranges):
                if start > expected:
                    yield producer, partition, (expected, start - 1)
                expected = max(expected, end + 1)
