"""Halted partitions: where a consumer group stopped, until a person lets it go on.

They are kept on the compacted topic `headrace.halts`, so a restart, another worker or an empty
ClickHouse changes nothing about them.
"""

import logging
from collections.abc import Mapping

from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.offsets import Partition
from headrace.connectors.kafka.reader import LogRecord
from headrace.connectors.kafka.tailer import Tailer
from headrace.connectors.kafka.writer import Outgoing, Writer
from headrace.schemas import (
    Codec,
    Halt,
    MalformedRecord,
    UnknownSchemaId,
    from_avro,
    to_avro,
)
from headrace.schemas.topics import Topic
from headrace.schemas.vocabulary import HaltReason, HaltState

logger = logging.getLogger(__name__)

HALTS = Topic.HALTS
HALTED, RESUMED = HaltState.HALTED, HaltState.RESUMED
POISON, LOG_LOST = HaltReason.POISON, HaltReason.LOG_LOST
_READ_S = 0.2


class HaltLog:
    """The last word on every partition that was ever halted. Not for sharing between threads.

    Every method raises KafkaUnavailable (TopicMissing, RegistryUnavailable) while it cannot be
    done, and may then be called again.
    """

    def __init__(self, config: KafkaConfig, codec: Codec) -> None:
        self._config = config
        self._codec = codec
        self._writer = Writer(config)
        self._tailer: Tailer | None = None
        self._last: dict[tuple[str, Partition], Halt] = {}

    def read(self) -> Mapping[tuple[str, Partition], Halt]:
        """The last record of each (consumer group, (topic, partition)), as the log is now."""
        if self._tailer is None:
            self._tailer = Tailer(self._config, [HALTS], name="headrace.halts.reader")
        wait = 0.0 if self._tailer.caught_up else _READ_S
        try:
            while True:
                records = self._tailer.read(wait)
                for record in records:
                    self._add(record)
                if not records and self._tailer.caught_up:
                    return self._last
        except BaseException:
            # What was fetched and not taken in would be missed: the next call begins again.
            self._tailer.close()
            self._tailer = None
            raise

    def write(self, halt: Halt) -> None:
        """Append a record and return when it is durable."""
        key = f"{halt.group}/{halt.topic}/{halt.partition}/{halt.offset}"
        value = self._codec.encode(HALTS, to_avro(halt))
        self._writer.send([Outgoing(topic=HALTS, key=key, value=value)])
        self._last[halt.group, (halt.topic, halt.partition)] = halt

    def close(self) -> None:
        """Let the clients go."""
        self._writer.close()
        if self._tailer is not None:
            self._tailer.close()

    def _add(self, record: LogRecord) -> None:
        try:
            halt = from_avro(Halt, self._codec.decode(HALTS, record.value))
        except (MalformedRecord, UnknownSchemaId) as error:  # the sink makes a dead letter of it
            logger.warning("%s/0/%d is no halt and is passed over: %s", HALTS, record.offset, error)
            return
        self._last[halt.group, (halt.topic, halt.partition)] = halt


def lost_range(stage: str, group: str, where: Partition, offset: int, start: int) -> Halt:
    """The halt of a group that was to read `offset` next, of a log that begins at `start`."""
    return Halt(
        stage=stage,
        group=group,
        topic=where[0],
        partition=where[1],
        offset=offset,
        end=start,
        reason=LOG_LOST,
        message=f"the log begins at offset {start}: the {start - offset} before it are gone, and "
        f"{group} still needed them (the topic's retention is shorter than it was away)",
    )


def accepts(halt: Halt | None, position: int, start: int) -> bool:
    """Whether a record lets its group go on at `start`, the log having lost what was before it
    from `position` on."""
    return (
        halt is not None
        and halt.state == RESUMED
        and halt.reason == LOG_LOST
        and halt.offset <= position
        and start <= halt.end
    )
