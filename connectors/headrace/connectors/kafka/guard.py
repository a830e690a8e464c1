"""Which partitions a reader may go on reading.

A partition is halted, durably and until `headrace resume`, when too many of its records could
not be read, or when the log no longer holds what the consumer group has to read next.

The count of unreadable records outlives the reader: it is that of the dead letters, which are
durable before anything else is made of the records beside them.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.dead_letters import DeadLetter, DeadLetterLog
from headrace.connectors.kafka.halts import (
    HALTED,
    LOG_LOST,
    POISON,
    RESUMED,
    HaltLog,
    accepts,
    lost_range,
)
from headrace.connectors.kafka.offsets import Offsets, Partition
from headrace.connectors.kafka.poison import PoisonCount, PoisonSettings
from headrace.schemas import Codec, Halt, to_avro

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

    def close(self) -> None:
        """Let the clients go."""


class Refusals(Protocol):
    """What was refused before; see `headrace.connectors.kafka.DeadLetterLog`."""

    def refused(self, where: Partition, stage: str, since: int) -> dict[int, int]:
        """Offset -> log time of a partition's records that a stage refused since a log time."""


class Guard:
    """Watches the partitions of one reader of a consumer group.

    Methods that ask Kafka raise KafkaUnavailable or RegistryUnavailable and may be called again.

    letters: where the count begins after a restart; None for a reader that begins at the log's
    start each time, and so meets the same records again.
    """

    def __init__(
        self,
        *,
        stage: str,
        group: str,
        offsets: LogOffsets,
        halts: Halts,
        letters: Refusals | None,
        limit: PoisonSettings,
    ) -> None:
        self.halted: Mapping[Partition, Halt] = {}
        """Partitions that are not to be read on. Replaced, never changed."""
        self._stage = stage
        self._group = group
        self._offsets = offsets
        self._halts = halts
        self._letters = letters
        self._limit = limit
        self._count = PoisonCount(limit)
        self._expected: dict[Partition, int] = {}
        self._forgiven: dict[Partition, int] = {}

    def assigned(
        self,
        partitions: Sequence[Partition],
        needed: Mapping[Partition, int] | None = None,
        *,
        held: Collection[Partition] = (),
    ) -> dict[Partition, int]:
        """Take partitions over: which of them are halted, and which have lost records meanwhile.

        Returns the offset at which each of the others goes on: that of `needed`, or else what the
        group has committed. One without either begins where its log begins: nothing of it was
        promised. What lies between a needed and a committed offset is read but not missed.

        held: partitions that the reader has from before and keeps; it has no others.
        """
        needed = needed or {}
        standing = self._halts.read()
        committed = self._offsets.committed(self._group, partitions)
        starts = self._offsets.starts(partitions)
        kept = set(held) - set(partitions)
        self.halted = {where: halt for where, halt in self.halted.items() if where in kept}
        self._expected = {where: at for where, at in self._expected.items() if where in kept}
        self._forgiven = {where: at for where, at in self._forgiven.items() if where in kept}
        for where in partitions:
            last = standing.get((self._group, where))
            start = starts[where]
            position = committed.get(where, needed.get(where, start))
            position = max(position, needed.get(where, position))
            if last is not None and last.state == HALTED:
                self._stay_halted(where, last, start)
                continue
            if position < start and not accepts(last, position, start):
                self._lost(where, position, start)
                continue
            if last is not None and (last.state, last.reason) == (RESUMED, POISON):
                self._forgiven[where] = last.offset
                self._count.forget(where)
            self._expected[where] = max(needed.get(where, position), start)
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

    def refused(self, letters: Sequence[DeadLetter]) -> None:
        """Count records that were refused and whose dead letters are durable; halts the
        partitions that are past the limit.

        What was refused in earlier lives, and what comes before a halt that was resumed, is known
        by its offset: it counts once, or no more.
        """
        past: dict[Partition, DeadLetter] = {}
        for letter in letters:
            where = (letter.topic, letter.partition)
            if letter.offset < self._forgiven.get(where, 0):
                continue
            if where not in self._count:
                self._count.begin(where, self._earlier(where, letter))
            if self._count.refused(where, letter.offset, letter.log_time):
                past[where] = letter
        for where, last in past.items():
            if where not in self.halted:
                self._poisoned(where, last)

    def halt(self, where: Partition, reason: str, message: str) -> None:
        """Halt a partition for a reason of the reader's own, until a person lets it go on."""
        offset = self._expected[where]
        self._halt(
            where,
            Halt(
                stage=self._stage,
                group=self._group,
                topic=where[0],
                partition=where[1],
                offset=offset,
                end=offset,
                reason=reason,
                message=message,
            ),
        )

    def resumed(self) -> list[Partition]:
        """Halted partitions that a person has let go on since."""
        standing = self._halts.read()
        last = {where: standing.get((self._group, where)) for where in self.halted}
        return [where for where, halt in last.items() if halt is None or halt.state != HALTED]

    def take_up(self) -> dict[Partition, int]:
        """Take up the halted partitions that a person has let go on: where each is read on.

        For a reader that goes on in the same process.
        """
        again = {where: self.halted[where].offset for where in self.resumed()}
        if not again:
            return {}
        starts = self.assigned(list(again), again, held={*self._expected, *self.halted})
        return {where: starts[where] for where in again if where in starts}

    def report(self) -> list[dict[str, Any]]:
        """The halted partitions, for a heartbeat."""
        return [to_avro(halt) for _, halt in sorted(self.halted.items())]

    def close(self) -> None:
        """Let the clients go."""
        self._halts.close()

    def _earlier(self, where: Partition, letter: DeadLetter) -> dict[int, int]:
        """What was refused of a partition before this record, as far as the window reaches.

        A dead letter is younger than its record, so none of them is missed.
        """
        if not self._limit.poison_limit or self._letters is None:
            return {}
        since = max(0, letter.log_time - self._limit.poison_window_ms)
        found = self._letters.refused(where, self._stage, since)
        first = self._forgiven.get(where, 0)
        return {at: log_time for at, log_time in found.items() if first <= at < letter.offset}

    def _stay_halted(self, where: Partition, last: Halt, start: int) -> None:
        if last.reason == LOG_LOST and start > last.end:  # more was lost meanwhile
            self._lost(where, last.offset, start)
        else:
            self.halted = {**self.halted, where: last}

    def _lost(self, where: Partition, position: int, start: int) -> None:
        self._halt(where, lost_range(self._stage, self._group, where, position, start))

    def _poisoned(self, where: Partition, last: DeadLetter) -> None:
        limit = self._limit
        self.halt(
            where,
            POISON,
            f"more than {limit.poison_limit} records within "
            f"{limit.poison_window_ms // 1000} s could not be read, the last one "
            f"(offset {last.offset}) because: {last.message}",
        )

    def _halt(self, where: Partition, halt: Halt) -> None:
        self._halts.write(halt)
        self.halted = {**self.halted, where: halt}  # others may be reading it at this moment
        logger.error("%s/%d is halted at offset %d: %s", *where, halt.offset, halt.message)


def make_guard(
    kafka: KafkaConfig, codec: Codec, *, stage: str, group: str, limit: PoisonSettings
) -> Guard:
    """The guard on real servers; connects with its first question. Give it a codec of its own."""
    return Guard(
        stage=stage,
        group=group,
        offsets=Offsets(kafka),
        halts=HaltLog(kafka, codec),
        letters=DeadLetterLog(kafka),
        limit=limit,
    )
