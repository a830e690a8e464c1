"""A member of a consumer group: it reads what the group gives it, and commits by hand."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from headrace.connectors.kafka.client_log import client_logger
from headrace.connectors.kafka.clients import make_consumer, why
from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.offsets import Partition
from headrace.connectors.kafka.reader import MAX_RECORDS, POLL_S, LogRecord, Reader

Assigned = Callable[[Sequence[Partition]], Mapping[Partition, int]]
"""Gets what the group assigned; returns the offset at which to read each of them."""


class GroupReader(Reader):
    """The partitions that a consumer group gives to one of its members.

    `on_assigned` is called, within a read, with what was assigned; without it each partition is
    read from where the group has committed, or from its start. `on_revoked` hears of partitions
    that are taken away, `on_error` of what the client reports of the cluster. `settings` are
    librdkafka's, with `_` for `.`.
    """

    def __init__(
        self,
        config: KafkaConfig,
        topics: Sequence[str],
        *,
        group: str,
        on_assigned: Assigned | None = None,
        on_revoked: Callable[[Sequence[Partition]], None] | None = None,
        on_error: Callable[[KafkaError], None] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(make_consumer(config, group=group, on_error=on_error, **settings), config)
        self._topics = list(topics)
        self._cooperative = "cooperative" in settings.get("partition_assignment_strategy", "")
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
        """Commit the next offsets to read. A refusal is logged and no error: whoever reads the
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
            client_logger.warning("%s did not commit: %s", self._group, why(self._config, error))

    def answers(self, timeout: float) -> None:
        """Ask the brokers for something small; raises what the client raises if none answers."""
        self._consumer.list_topics(self._topics[0], timeout=timeout)

    def _assign(self, starts: Mapping[Partition, int]) -> None:
        parts = [TopicPartition(*where, offset) for where, offset in starts.items()]
        if self._cooperative:  # what it has stays
            self._consumer.incremental_assign(parts)
        else:
            self._consumer.assign(parts)


def _places(parts: Iterable[TopicPartition]) -> list[Partition]:
    return [(part.topic, part.partition) for part in parts]
