"""Which partitions a worker may go on reading (design §5, "Failures").

A partition is halted, durably and until `headrace resume`, when too many of its records could
not be read, or when the log no longer holds what the consumer group has to read next.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from headrace.connectors.kafka import (
    HALTED,
    POISON,
    DeadLetter,
    HaltLog,
    KafkaConfig,
    Offsets,
    Partition,
    Registry,
    accepts,
    lost_range,
)
from headrace.schemas import Codec, Halt, to_avro
from headrace.streams.host.poison import PoisonCount, PoisonLimit

logger = logging.getLogger(__name__)


class LogOffsets(Protocol):
    """Kafka, as far as a guard asks it; see `headrace.connectors.kafka.Offsets`."""

    def starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Offset of the first record that the log still holds."""

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """What a group has committed."""


class Halts(Protocol):
    """The record of halted partitions; see `headrace.connectors.kafka.HaltLog`."""

    def read(self) -> Mapping[tuple[str, Partition], Halt]:
        """The last record of each (group, partition)."""

    def write(self, halt: Halt) -> None:
        """Append one."""


class Guard:
    """Watches the partitions of one worker of a consumer group.

    Methods that ask Kafka raise KafkaUnavailable or RegistryUnavailable and may be called again.
    """

    def __init__(
        self, *, stage: str, group: str, offsets: LogOffsets, halts: Halts, limit: PoisonLimit
    ) -> None:
        self.halted: Mapping[Partition, Halt] = {}
        """Partitions that are not to be read on. Replaced, never changed."""
        self._stage = stage
        self._group = group
        self._offsets = offsets
        self._halts = halts
        self._limit = limit
        self._count = PoisonCount(limit)
        self._expected: dict[Partition, int] = {}

    def assigned(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Take partitions over: which of them are halted, and which have lost records meanwhile.

        Returns the offset at which each of the others goes on. One that the group never
        committed begins where its log begins: nothing of it was promised.
        """
        standing = self._halts.read()
        committed = self._offsets.committed(self._group, partitions)
        starts = self._offsets.starts(partitions)
        self.halted = {}
        self._expected = {}
        for where in partitions:
            last = standing.get((self._group, where))
            position = committed.get(where, starts[where])
            if last is not None and last.state == HALTED:
                self.halted[where] = last
            elif position < starts[where] and not accepts(last, position, starts[where]):
                self._lost(where, position, starts[where])
            else:
                self._expected[where] = max(position, starts[where])
        return dict(self._expected)

    def jumps(self, offsets: Iterable[tuple[Partition, int]]) -> dict[Partition, int]:
        """Partitions whose records (in log order) leave offsets out -> the first one left out.

        Asks nobody. Markers of transactions leave offsets out too: `check` tells them apart.
        """
        expected = dict(self._expected)
        found: dict[Partition, int] = {}
        for where, offset in offsets:
            if offset > expected.get(where, offset):
                found.setdefault(where, expected[where])
            expected[where] = offset + 1
        return found

    def check(self, jumps: Mapping[Partition, int]) -> None:
        """Halt the partitions whose log begins behind what was to come next."""
        open_ = [where for where in jumps if where not in self.halted]
        for where, start in self._offsets.starts(open_).items():
            if start > jumps[where]:
                self._lost(where, jumps[where], start)

    def check_expected(self, where: Partition) -> None:
        """Halt a partition if its log begins behind the offset that is to come next."""
        self.check({where: self._expected[where]})

    def admits(self, where: Partition, offset: int) -> bool:
        """Whether a record may be taken."""
        return where not in self.halted or offset < self.halted[where].offset

    def taken(self, ends: Mapping[Partition, int]) -> None:
        """Records were taken: partition -> the offset that comes next."""
        self._expected |= ends

    def refused(self, letters: Sequence[DeadLetter], log_times: Mapping[Partition, int]) -> None:
        """Count what a take refused; halts the partitions that are past the limit.

        `log_times` are those of the take's last records, and close enough for a count.
        """
        past = [
            (letter.topic, letter.partition)
            for letter in letters
            if self._count.refused(
                (letter.topic, letter.partition), log_times[letter.topic, letter.partition]
            )
        ]
        for where in dict.fromkeys(past):
            if where not in self.halted:
                last = next(x for x in reversed(letters) if (x.topic, x.partition) == where)
                self._poisoned(where, last)

    def resumed(self) -> list[Partition]:
        """Halted partitions that a person has let go on since."""
        standing = self._halts.read()
        last = {where: standing.get((self._group, where)) for where in self.halted}
        return [where for where, halt in last.items() if halt is None or halt.state != HALTED]

    def report(self) -> list[dict[str, Any]]:
        """The halted partitions, for a heartbeat."""
        return [to_avro(halt) for _, halt in sorted(self.halted.items())]

    def _lost(self, where: Partition, position: int, start: int) -> None:
        self._halt(where, lost_range(self._stage, self._group, where, position, start))

    def _poisoned(self, where: Partition, last: DeadLetter) -> None:
        offset, limit = self._expected[where], self._limit
        halt = Halt(
            stage=self._stage,
            group=self._group,
            topic=where[0],
            partition=where[1],
            offset=offset,
            end=offset,
            reason=POISON,
            message=f"more than {limit.records} records within {limit.window_ms // 1000} s could "
            f"not be read, the last one (offset {last.offset}) because: {last.message}",
        )
        self._halt(where, halt)

    def _halt(self, where: Partition, halt: Halt) -> None:
        self._halts.write(halt)
        self.halted = {**self.halted, where: halt}  # others may be reading it at this moment
        logger.error("%s/%d is halted at offset %d: %s", *where, halt.offset, halt.message)


def make_guard(
    kafka: KafkaConfig, registry_url: str, *, stage: str, group: str, limit: PoisonLimit
) -> Guard:
    """The guard on real servers; connects with its first question."""
    return Guard(
        stage=stage,
        group=group,
        offsets=Offsets(kafka),
        halts=HaltLog(kafka, Codec(Registry(registry_url))),
        limit=limit,
    )
