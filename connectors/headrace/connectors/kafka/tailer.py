"""Whole topics read from given offsets and then followed, outside any consumer group."""

from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from headrace.connectors.kafka.client_log import client_logger, in_words
from headrace.connectors.kafka.clients import make_consumer
from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.errors import LogLost
from headrace.connectors.kafka.offsets import Offsets, Partition
from headrace.connectors.kafka.reader import MAX_RECORDS, POLL_S, LogRecord, Reader
from headrace.connectors.kafka.topics import partitions_of


class Tailer(Reader):
    """Every partition of some topics from given offsets on; no member of a group.

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
        self._name = name
        self._ends: dict[Partition, int] = {}
        self._offsets = Offsets(config)
        consumer = make_consumer(
            config, group=name, auto_offset_reset="error", enable_partition_eof=True
        )
        super().__init__(consumer, config)
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
        return len(self._ends) == len(self.partitions)

    @property
    def at_end(self) -> bool:
        """Whether nothing has come of any partition since its end was seen last."""
        return self.caught_up and all(
            self.positions[where] == end for where, end in self._ends.items()
        )

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

    def tell_group(self, positions: Mapping[Partition, int]) -> None:
        """Let the group's offsets say how far this reader is, without waiting for the broker.

        They show its lag, and what it does not miss if the log loses it; where to read on they do
        not decide. So a refusal is told, and the next ones say more.
        """
        offsets = [TopicPartition(*where, offset) for where, offset in positions.items()]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            client_logger.warning("the lag of %s is not told: %s", self._name, in_words(error))

    def _failed(self, error: KafkaError, where: Partition, offset: int) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends[where] = offset
        if error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # it is in no group
            super()._failed(error, where, offset)
