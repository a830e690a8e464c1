"""A stretch of a topic's log, read outside any consumer group while everything goes on."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.errors import KafkaUnavailable
from headrace.connectors.kafka.offsets import Partition
from headrace.connectors.kafka.reader import LogRecord
from headrace.connectors.kafka.tailer import Tailer

_SILENCE_S = 30.0


@dataclass(kw_only=True, slots=True, frozen=True)
class Stretch:
    """Of each partition the first offset, and the one behind the last."""

    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]

    @property
    def records(self) -> int:
        """How many offsets."""
        return sum(max(0, self.ends[one] - self.starts[one]) for one in self.starts)

    @property
    def whole(self) -> bool:
        """Whether it begins where every partition's numbering does."""
        return not any(self.starts.values())


def read_stretch(
    config: KafkaConfig, topic: str, stretch: Stretch, *, name: str
) -> Iterator[list[LogRecord]]:
    """The records of a stretch in the order of each partition, some at a time.

    name: the client's, as the broker's log has it.

    Raises KafkaUnavailable, or LogLost where retention removed what was to be read.
    """
    wanted = {each: end for each, end in stretch.ends.items() if end > stretch.starts[each]}
    if not wanted:
        return
    tailer = Tailer(config, [topic], name=name, starts=stretch.starts)
    try:
        give_up = time.monotonic() + _SILENCE_S
        while not tailer.has_read(wanted):
            records = tailer.read()
            if records:
                give_up = time.monotonic() + _SILENCE_S
                yield [record for record in records if record.offset < stretch.ends[record.where]]
            elif time.monotonic() > give_up:
                raise KafkaUnavailable(f"{topic} could not be read to where it is wanted")
    finally:
        tailer.close()
