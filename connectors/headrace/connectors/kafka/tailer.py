"""Whole topics read from their start and then followed, outside any consumer group."""

from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from headrace.connectors.kafka.config import (
    KafkaConfig,
    client_logger,
    consumer_settings,
    partitions_of,
)
from headrace.connectors.kafka.errors import KafkaUnavailable


class Tailer:
    """Reads every partition of some topics, committed records only, and commits nothing.

    `caught_up` becomes true when the end of each partition has been seen once. Not for sharing
    between threads.

    Raises KafkaUnavailable or TopicMissing when it is made.
    """

    def __init__(self, config: KafkaConfig, topics: Sequence[str], *, name: str) -> None:
        assignment = [
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in topics
            for partition in range(partitions_of(config, topic))
        ]
        self._behind = {(part.topic, part.partition) for part in assignment}
        self._consumer = Consumer(consumer_settings(config, group=name, enable_partition_eof=True))
        self._consumer.assign(assignment)

    @property
    def caught_up(self) -> bool:
        """Whether everything that was on the topics at the start has been read."""
        return not self._behind

    def read(self, timeout: float, limit: int = 500) -> Iterator[Any]:
        """Messages that came within `timeout` seconds, at most `limit`.

        Raises:
            KafkaUnavailable: the client gave up on the cluster.
        """
        for message in self._consumer.consume(limit, timeout):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                self._behind.discard((str(message.topic()), int(message.partition() or 0)))
            elif error.fatal():
                raise KafkaUnavailable(f"reading {message.topic()}: {error.str()}")
            else:  # the client goes on by itself
                client_logger.warning("reading %s: %s", message.topic(), error.str())

    def close(self) -> None:
        """Let the consumer go."""
        self._consumer.close()
