"""How far a consumer group is behind its topics: in records and in seconds, beside retention."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

# Public names, but not in an __all__.
from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

from headrace.connectors.kafka.clients import make_admin, make_consumer, why
from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.errors import KafkaUnavailable
from headrace.connectors.kafka.offsets import Offsets, Partition
from headrace.connectors.kafka.topics import partitions_of

_READ_S = 3.0
_REQUEST_S = 5.0


@dataclass(kw_only=True, slots=True, frozen=True)
class Lag:
    """What a group has not acknowledged of a partition."""

    records: int
    """Offsets from the acknowledged one to the end; 0 where only transactions' markers are left."""
    seconds: float
    """Age of the oldest record of them, by the broker's log time; 0: there is none."""
    retention_s: float
    """Age at which the topic lets a record go; inf: never. Beyond it, a lag is a loss."""


class Lags:
    """Asks how far one group is behind some topics. Not for sharing between threads."""

    def __init__(self, config: KafkaConfig, group: str, topics: Sequence[str]) -> None:
        self._config = config
        self._group = group
        self._topics = list(topics)
        self._offsets = Offsets(config)
        self._partitions: list[Partition] = []
        self._retention: dict[str, float] = {}

    def ask(self) -> dict[Partition, Lag]:
        """The lag of each partition now. Raises KafkaUnavailable, TopicMissing."""
        if not self._partitions:
            self._retention = _retention_s(self._config, self._topics)
            self._partitions = [
                (topic, number)
                for topic in self._topics
                for number in range(partitions_of(self._config, topic, _REQUEST_S))
            ]
        committed = self._offsets.committed(self._group, self._partitions)
        starts = self._offsets.starts(self._partitions)
        ends = self._offsets.ends(self._partitions)
        places = {one: max(committed.get(one, 0), starts[one]) for one in self._partitions}
        behind = {one: place for one, place in places.items() if place < ends[one]}
        times = _log_times(self._config, behind) if behind else {}
        now = time.time()
        return {
            one: Lag(
                # A partition whose rest is markers was read to its end without a record.
                records=0 if times.get(one, 0) is None else ends[one] - places[one],
                seconds=max(0.0, now - at / 1000) if (at := times.get(one)) else 0.0,
                retention_s=self._retention[one[0]],
            )
            for one in self._partitions
        }


def _log_times(config: KafkaConfig, places: Mapping[Partition, int]) -> dict[Partition, int | None]:
    """Log time (milliseconds) of the first record at or behind each place; None: there is none.

    A partition that did not answer in time is left out.
    """
    consumer = make_consumer(
        config,
        group="headrace.lag",
        enable_partition_eof=True,
        queued_min_messages=1,  # one record of each is wanted, not all that follow
        fetch_message_max_bytes=65_536,
    )
    found: dict[Partition, int | None] = {}
    try:
        consumer.assign([TopicPartition(*where, place) for where, place in places.items()])
        end = time.monotonic() + _READ_S
        while len(found) < len(places) and time.monotonic() < end:
            for message in consumer.consume(len(places), 0.2):
                where = (str(message.topic()), int(message.partition() or 0))
                if (error := message.error()) is None:
                    found.setdefault(where, int(message.timestamp()[1]))
                elif error.code() == KafkaError._PARTITION_EOF:
                    found.setdefault(where, None)
    finally:
        consumer.close()
    return found


def _retention_s(config: KafkaConfig, topics: Sequence[str]) -> dict[str, float]:
    resources = [ConfigResource(ConfigResource.Type.TOPIC, str(topic)) for topic in topics]
    admin = make_admin(config)  # held: its answers end with it
    try:
        asked = admin.describe_configs(resources, request_timeout=_REQUEST_S)
        described: dict[str, Any] = {one.name: future.result() for one, future in asked.items()}
    except KafkaException as error:
        raise KafkaUnavailable(
            f"{config.bootstrap} did not tell its retention: {why(config, error, admin)}"
        ) from error
    return {name: _seconds(entries) for name, entries in described.items()}


def _seconds(entries: Mapping[str, Any]) -> float:
    """`retention.ms` of a topic that is cleaned by age; a compacted one keeps the last of a key."""
    milliseconds = int(entries["retention.ms"].value)
    if "delete" not in entries["cleanup.policy"].value or milliseconds < 0:
        return math.inf
    return milliseconds / 1000
