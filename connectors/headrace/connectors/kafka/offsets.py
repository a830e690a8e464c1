"""Where the log of a partition begins and ends, and how far a consumer group is."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)

# Public names, but not in an __all__.
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from headrace.connectors.kafka.clients import make_admin, why
from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.errors import KafkaUnavailable

Partition = tuple[str, int]
"""Topic and partition."""

REQUEST_S = 5.0

MOVING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
"""A healthy cluster whose partition changes hands, or was made a moment ago: asked again."""

MOVING_PAUSE_S = 0.2


class Offsets:
    """Asks the brokers for offsets; every answer raises KafkaUnavailable while none answers.

    Connects with its first question. Not for sharing between threads.
    """

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._admin: Any = None

    def starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Offset of the first record that the log still holds."""
        return self._listed(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Offset behind the last record, open transactions included."""
        return self._listed(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def since(self, partitions: Iterable[Partition], log_time: int) -> dict[Partition, int]:
        """Offset of the first record written at a log time (milliseconds) or later; -1: none."""
        spec = OffsetSpec.for_timestamp(log_time)
        return self._listed(partitions, spec)

    def from_time(self, partitions: Iterable[Partition], log_time: int) -> dict[Partition, int]:
        """Where to begin for all that was written at a log time (milliseconds) or later: the end
        where nothing was."""
        ends = self.ends(partitions)
        found = self.since(ends, log_time)
        return {where: found[where] if found[where] >= 0 else end for where, end in ends.items()}

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """What a consumer group has committed; partitions it never committed are left out."""
        asked = [TopicPartition(*where) for where in sorted(set(partitions))]
        if not asked:
            return {}
        group = str(group)  # of an enumeration's member librdkafka sees no name
        answer = self._answered(
            lambda client: client.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, asked)], request_timeout=REQUEST_S
            )
        )
        found: list[Any] = answer[group].topic_partitions
        return {(p.topic, p.partition): p.offset for p in found if p.offset >= 0}

    def forget(self, groups: Iterable[str]) -> None:
        """Delete consumer groups that nobody is in; one that is not there, or not empty, stays."""
        futures = self._client().delete_consumer_groups(
            [str(group) for group in groups], request_timeout=REQUEST_S
        )
        for future in futures.values():
            with suppress(KafkaException):
                future.result()

    def _listed(self, partitions: Iterable[Partition], spec: OffsetSpec) -> dict[Partition, int]:
        asked = {TopicPartition(*where): spec for where in set(partitions)}
        if not asked:
            return {}
        answer = self._answered(
            lambda client: client.list_offsets(asked, request_timeout=REQUEST_S)
        )
        return {(p.topic, p.partition): int(found.offset) for p, found in answer.items()}

    def _client(self) -> Any:
        if self._admin is None:
            self._admin = make_admin(self._config)
        return self._admin

    def _answered(self, ask: Callable[[Any], dict[Any, Any]]) -> dict[Any, Any]:
        """The answer to each part of a question, asked again for REQUEST_S while leaders move."""
        until = time.monotonic() + REQUEST_S
        while True:
            try:
                return {of: future.result() for of, future in ask(self._client()).items()}
            except KafkaException as error:
                # After a broker's death librdkafka's admin client asks with the old leader's epoch
                # for ever (FENCED_LEADER_EPOCH): the next question goes to a new one.
                admin, self._admin = self._admin, None
                if error.args[0].code() in MOVING and time.monotonic() < until:
                    time.sleep(MOVING_PAUSE_S)
                    continue
                raise KafkaUnavailable(
                    f"{self._config.bootstrap} did not tell its offsets: "
                    f"{why(self._config, error, admin)}"
                ) from error
