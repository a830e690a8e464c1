"""Records of the log as every part sees them, and what reading them by hand has in common.

A `Tailer` reads partitions that it chose, outside any consumer group; a `GroupReader` those that
its group gives it. What an error of the client means is decided here, once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, TopicPartition

from headrace.connectors.kafka.client_log import client_logger
from headrace.connectors.kafka.clients import FORBIDDEN, why
from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.errors import KafkaUnavailable
from headrace.connectors.kafka.interrupts import held_back
from headrace.connectors.kafka.offsets import Partition

if TYPE_CHECKING:
    from confluent_kafka import Consumer

TICK_HEADER = "headrace.tick"
FORWARDED_HEADER = "headrace.forwarded"
POLL_S = 0.2
MAX_RECORDS = 500
_OUT_OF_RANGE = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET)


@dataclass(kw_only=True, slots=True, frozen=True)
class LogRecord:
    """One record of the log. `log_time` is the broker's, in milliseconds."""

    topic: str
    partition: int
    offset: int
    log_time: int
    value: bytes | None
    key: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def where(self) -> Partition:
        """Its topic and partition."""
        return self.topic, self.partition

    @property
    def tick(self) -> bool:
        """Whether it has neither key nor value and only moves the partition's clock."""
        return self.key is None and self.value is None and TICK_HEADER in self.headers

    @property
    def forwarded(self) -> bool:
        """Whether it was found in another partition and sent on whole."""
        return FORWARDED_HEADER in self.headers


def ends_of(records: Iterable[LogRecord]) -> dict[Partition, int]:
    """By partition the offset that comes after its last record among these (in log order)."""
    return {record.where: record.offset + 1 for record in records}


class Reader:
    """What reading by hand has in common. Not for sharing between threads."""

    def __init__(self, consumer: "Consumer", config: KafkaConfig) -> None:
        self.positions: dict[Partition, int] = {}
        """The next offset to read, where known."""
        self.lost: dict[Partition, str] = {}
        """Partitions of which the last read found the next record gone from the log, and how."""
        self._consumer = consumer
        self._config = config

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on at these offsets, of partitions that it has."""
        for where, offset in positions.items():
            self._consumer.seek(TopicPartition(*where, offset))
            self.positions[where] = offset

    def close(self) -> None:
        """Let the consumer go."""
        with held_back():
            self._consumer.close()

    def _read(self, timeout: float, limit: int) -> list[LogRecord]:
        self.lost = {}
        records = []
        with held_back():
            messages = self._consumer.consume(limit, timeout)
        for message in messages:
            where = (str(message.topic()), int(message.partition() or 0))
            if (error := message.error()) is not None:
                self._failed(error, where, int(message.offset() or 0))
                continue
            record = _record_of(message)
            self.positions[where] = record.offset + 1
            records.append(record)
        return records

    def _failed(self, error: KafkaError, where: Partition, offset: int) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            # The end lies behind the markers of transactions, which are never records.
            self.positions[where] = offset
        elif error.code() in _OUT_OF_RANGE:
            self.lost[where] = error.str()
        elif error.fatal() or error.code() in FORBIDDEN:
            # What the group's coordinator refuses is no partition's.
            what = self._config.bootstrap if where[0] == "None" else f"{where[0]}/{where[1]}"
            raise KafkaUnavailable(f"reading {what}: {why(self._config, error)}")
        else:  # a broker away, a leader moving: the client goes on by itself
            client_logger.debug("reading %s/%d: %s", *where, error.str())


def _record_of(message: Any) -> LogRecord:
    return LogRecord(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        log_time=message.timestamp()[1],
        value=message.value(),
        key=message.key(),
        headers={name: value or b"" for name, value in message.headers() or ()},
    )
