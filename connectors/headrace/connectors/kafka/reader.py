"""Records of the log as every part sees them, and the two ways to read them by hand.

A `Tailer` reads partitions that it chose, outside any consumer group; a `GroupReader` those that
its group gives it. What an error of the client means is decided here, once. Committed records
only, unless a group asks for all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from headrace.connectors.kafka.config import (
    KafkaConfig,
    client_logger,
    consumer_settings,
    partitions_of,
)
from headrace.connectors.kafka.errors import KafkaUnavailable, LogLost
from headrace.connectors.kafka.offsets import Offsets, Partition

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
        """Whether it has no content and only moves the partition's clock."""
        return TICK_HEADER in self.headers

    @property
    def forwarded(self) -> bool:
        """Whether it was found in another partition and sent on whole."""
        return FORWARDED_HEADER in self.headers


def ends_of(records: Iterable[LogRecord]) -> dict[Partition, int]:
    """By partition the offset that comes after its last record among these (in log order)."""
    return {record.where: record.offset + 1 for record in records}


class Reader:
    """What reading by hand has in common. Not for sharing between threads."""

    def __init__(self, consumer: Consumer) -> None:
        self.positions: dict[Partition, int] = {}
        """The next offset to read, where known."""
        self.lost: dict[Partition, str] = {}
        """Partitions of which the last read found the next record gone from the log, and how."""
        self._consumer = consumer

    def close(self) -> None:
        """Let the consumer go."""
        self._consumer.close()

    def _read(self, timeout: float, limit: int) -> list[LogRecord]:
        self.lost = {}
        records = []
        for message in self._consumer.consume(limit, timeout):
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
        elif error.fatal():
            raise KafkaUnavailable(f"reading {where[0]}/{where[1]}: {error.str()}")
        else:  # a broker away, a leader moving: the client goes on by itself
            client_logger.warning("reading %s/%d: %s", *where, error.str())


class Tailer(Reader):
    """Every partition of some topics from given offsets on; commits nothing.

    A partition without an offset in `starts` is read from its start. Raises KafkaUnavailable or
    TopicMissing when it is made.
    """

    def __init__(
        self,
        config: KafkaConfig,
        topics: Sequence[str],
        *,
        name: str,
        starts: Mapping[Partition, int] | None = None,
    ) -> None:
        starts = starts or {}
        self.partitions: list[Partition] = [
            (topic, partition)
            for topic in topics
            for partition in range(partitions_of(config, topic))
        ]
        self._behind = set(self.partitions)
        self._offsets = Offsets(config)
        super().__init__(
            Consumer(
                consumer_settings(
                    config, group=name, auto_offset_reset="error", enable_partition_eof=True
                )
            )
        )
        self.positions = dict(starts)
        self._consumer.assign(
            [
                TopicPartition(*where, starts.get(where, OFFSET_BEGINNING))
                for where in self.partitions
            ]
        )

    @property
    def caught_up(self) -> bool:
        """Whether the end of each partition has been seen once."""
        return not self._behind

    def read(self, timeout: float = POLL_S, limit: int = MAX_RECORDS) -> list[LogRecord]:
        """The next records; empty when none came within `timeout` seconds.

        Raises:
            KafkaUnavailable: the client gave up on the cluster.
            LogLost: the log no longer holds the offset to read next.
        """
        records = self._read(timeout, limit)
        for (topic, partition), told in self.lost.items():
            raise LogLost(
                f"{topic}/{partition}: the log does not hold the offset to read next ({told}): "
                "its retention is shorter than this reader needs, or the topic was made again"
            )
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

    def _failed(self, error: KafkaError, where: Partition, offset: int) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            self._behind.discard(where)
        super()._failed(error, where, offset)


Assigned = Callable[[Sequence[Partition]], Mapping[Partition, int]]
"""Told what the group assigned; returns the offset at which to read each of them."""


class GroupReader(Reader):
    """The partitions that a consumer group gives to one of its members.

    `on_assigned` is called, within a read, with what was assigned; without it each partition is
    read from where the group has committed, or from its start. `on_revoked` hears of partitions
    that are taken away. `settings` are librdkafka's, with `_` for `.`.
    """

    def __init__(
        self,
        config: KafkaConfig,
        topics: Sequence[str],
        *,
        group: str,
        on_assigned: Assigned | None = None,
        on_revoked: Callable[[Sequence[Partition]], None] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(Consumer(consumer_settings(config, group=group, **settings)))
        self._topics = list(topics)
        self._group = group
        hooks: dict[str, Any] = {}
        if on_assigned is not None:
            hooks["on_assign"] = lambda _, parts: self._assign(on_assigned(_places(parts)))
        if on_revoked is not None:
            hooks["on_revoke"] = lambda _, parts: on_revoked(_places(parts))
            hooks["on_lost"] = hooks["on_revoke"]
        self._consumer.subscribe(self._topics, **hooks)

    @property
    def assigned(self) -> list[Partition]:
        """What this member has now."""
        return sorted(_places(self._consumer.assignment()))

    def read(self, timeout: float = POLL_S, limit: int = MAX_RECORDS) -> list[LogRecord]:
        """The next records; empty when none came within `timeout` seconds. See `lost`.

        Raises KafkaUnavailable where the client gave up on the cluster.
        """
        return self._read(timeout, limit)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Fetch no more of these; what was fetched may still come."""
        if parts := [TopicPartition(*where) for where in partitions]:
            self._consumer.pause(parts)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch these again."""
        if parts := [TopicPartition(*where) for where in partitions]:
            self._consumer.resume(parts)

    def commit(self, positions: Mapping[Partition, int], *, wait: bool = True) -> None:
        """Commit the next offsets to read. A refusal is told and no error: whoever reads the
        records again does the same again.
        """
        if not positions:
            return
        offsets = [TopicPartition(*where, offset) for where, offset in positions.items()]
        try:
            if wait:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            client_logger.warning("%s did not commit: %s", self._group, error.args[0])

    def answers(self, timeout: float) -> None:
        """Ask the brokers for something small; raises what the client raises if none answers."""
        self._consumer.list_topics(self._topics[0], timeout=timeout)

    def _assign(self, starts: Mapping[Partition, int]) -> None:
        self._consumer.assign([TopicPartition(*where, offset) for where, offset in starts.items()])


def _places(parts: Iterable[TopicPartition]) -> list[Partition]:
    return [(part.topic, part.partition) for part in parts]


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
