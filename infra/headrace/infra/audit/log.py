"""The acknowledged part of `headrace.spans`, read outside any consumer group."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace.connectors.kafka import (
    DeadLetterLog,
    KafkaConfig,
    KafkaUnavailable,
    LogRecord,
    Offsets,
    Partition,
    Tailer,
    partitions_of,
)
from headrace.schemas.topics import Topic

_SILENCE_S = 30.0


@dataclass(kw_only=True, slots=True, frozen=True)
class Acknowledged:
    """From where the log of each partition begins to what the stage has acknowledged."""

    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]

    @property
    def records(self) -> int:
        """How many offsets."""
        return sum(max(0, self.ends[one] - self.starts[one]) for one in self.starts)

    @property
    def whole(self) -> bool:
        """Whether the log still has its beginning."""
        return not any(self.starts.values())


def acknowledged(config: KafkaConfig, topic: str, group: str) -> Acknowledged:
    """What a consumer group has acknowledged of a topic. Raises KafkaUnavailable."""
    offsets = Offsets(config)
    partitions = [(topic, number) for number in range(partitions_of(config, topic))]
    committed = offsets.committed(group, partitions)
    starts = offsets.starts(partitions)
    ends = {each: max(committed.get(each, 0), starts[each]) for each in partitions}
    return Acknowledged(starts=starts, ends=ends)


def read(config: KafkaConfig, topic: str, part: Acknowledged) -> Iterator[list[LogRecord]]:
    """The records of `part` in the order of each partition, some at a time.

    Raises KafkaUnavailable, or LogLost where retention removed what was to be read.
    """
    tailer = Tailer(config, [topic], name="headrace.audit", starts=part.starts)
    wanted = {each: end for each, end in part.ends.items() if end > part.starts[each]}
    try:
        give_up = time.monotonic() + _SILENCE_S
        while not tailer.has_read(wanted):
            records = tailer.read()
            if records:
                give_up = time.monotonic() + _SILENCE_S
                yield [record for record in records if record.offset < part.ends[record.where]]
            elif time.monotonic() > give_up:
                raise KafkaUnavailable(f"{topic} could not be read to what is acknowledged")
    finally:
        tailer.close()


def dead_letters(config: KafkaConfig, partition: int, stage: str) -> frozenset[int]:
    """Offsets of a partition of `headrace.spans` whose records a stage set aside."""
    return frozenset(DeadLetterLog(config).refused((Topic.SPANS, partition), stage, 0))
