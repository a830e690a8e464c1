"""Reading the log: positions are kept by the trainer itself, never by a consumer group."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from headrace.connectors.kafka import (
    KafkaConfig,
    Offsets,
    Partition,
    consumer_settings,
    partitions_of,
)
from headrace.trainer.errors import LogLost
from headrace.trainer.intake import Position

logger = logging.getLogger(__name__)

POLL_S = 0.2
MAX_RECORDS = 500


@dataclass(kw_only=True, slots=True, frozen=True)
class Record:
    """A committed record of the log."""

    position: Position
    value: bytes

    @property
    def topic(self) -> str:
        """Its topic."""
        return self.position.topic

    @property
    def partition(self) -> int:
        """Its partition."""
        return self.position.partition

    @property
    def offset(self) -> int:
        """Its offset."""
        return self.position.offset


class Log:
    """Committed records of some topics from given offsets on (read_committed, assigned by hand).

    `positions` are the next offsets to read, where known. A partition without an offset is read
    from its start. Raises KafkaUnavailable or TopicMissing when it is made.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        topics: Sequence[str],
        group: str,
        offsets: Mapping[Partition, int] | None = None,
    ) -> None:
        starts = offsets or {}
        self.positions: dict[Partition, int] = dict(starts)
        self.partitions: list[Partition] = [
            (topic, partition)
            for topic in topics
            for partition in range(partitions_of(kafka, topic))
        ]
        self._offsets = Offsets(kafka)
        self._consumer = Consumer(
            consumer_settings(
                kafka, group=group, auto_offset_reset="error", enable_partition_eof=True
            )
        )
        self._consumer.assign(
            [
                TopicPartition(*where, starts.get(where, OFFSET_BEGINNING))
                for where in self.partitions
            ]
        )

    def read(self, timeout: float = POLL_S) -> list[Record]:
        """The next records, at most some hundreds; empty when none came within `timeout`.

        Raises LogLost where the log no longer holds the offset to read.
        """
        records = []
        for message in self._consumer.consume(MAX_RECORDS, timeout):
            where = (str(message.topic()), int(message.partition() or 0))
            offset = int(message.offset() or 0)
            if (error := message.error()) is not None:
                # The end of a partition lies behind transaction markers, which are never records.
                if error.code() == KafkaError._PARTITION_EOF:
                    self.positions[where] = offset
                else:
                    _on_error(error, where)
                continue
            self.positions[where] = offset + 1
            if (value := message.value()) is not None:
                position = Position(*where, offset, message.timestamp()[1])
                records.append(Record(position=position, value=value))
        return records

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Offsets behind the last record of partitions now, open transactions included.

        Raises KafkaUnavailable while no broker answers.
        """
        return self._offsets.ends(partitions)

    def has_read(self, ends: Mapping[Partition, int]) -> bool:
        """Whether everything before `ends` has been read."""
        return all(self.positions.get(where, 0) >= end for where, end in ends.items())

    def group_metadata(self) -> Any:
        """Metadata object under which offsets can join a transaction."""
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _on_error(error: KafkaError, where: Partition) -> None:
    if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
        raise LogLost(
            f"{where[0]}/{where[1]}: the log does not hold the offset to read next "
            f"({error.str()}): its retention is shorter than the trainer needs, and a restart "
            "halts until the loss is accepted; or the topic was made again: restore it, or start "
            "a new policy"
        )
    if error.fatal():
        raise KafkaException(error)
    # a broker away, a leader moving: librdkafka goes on by itself
    logger.warning("reading %s/%d: %s", *where, error.str())
