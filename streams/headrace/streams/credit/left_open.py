"""Groups that were open when rule or method changed: what their episodes were. Blocking."""

from collections.abc import Sequence

from headrace.connectors.kafka import (
    KafkaConfig,
    LogRecord,
    Offsets,
    Partition,
    Stretch,
    partitions_of,
    read_stretch,
)
from headrace.schemas import Codec, EpisodeBatch, SchemaError, Unavailable, from_avro
from headrace.schemas.topics import Topic
from headrace.streams.credit.core import Arrival
from headrace.streams.credit.store import GroupStore

TOPIC = Topic.EPISODES


def arrivals_of(codec: Codec, record: LogRecord) -> list[Arrival]:
    """The episodes of a record. Raises SchemaError."""
    data = codec.decode(TOPIC, record.value)
    return [
        Arrival(partition=record.partition, log_time=record.log_time, episode=episode)
        for episode in from_avro(EpisodeBatch, data).episodes
    ]


class LeftOpen:
    """Reads again, for the rule and method of now, the episodes of groups that the ones before left
    open and that have no row by those of now: their episodes were acknowledged, and come no more.

    It reads beyond what is acknowledged, to the log's end: what comes again is no news.
    """

    def __init__(self, kafka: KafkaConfig, codec: Codec, store: GroupStore) -> None:
        self._kafka = kafka
        self._codec = codec
        self._store = store

    def __call__(self, partitions: Sequence[Partition]) -> list[Arrival]:
        """Raises KafkaUnavailable, RegistryUnavailable or ClickHouseUnavailable."""
        groups = self._store.left_open([number for _, number in partitions])
        if not groups:
            return []
        offsets, wanted = Offsets(self._kafka), {key for _, key, _ in groups}
        every = [(TOPIC, number) for number in range(partitions_of(self._kafka, TOPIC))]
        ends = offsets.ends(every)
        starts = dict(ends)  # nothing of the other partitions
        for number in {number for number, _, _ in groups}:
            first = min(log_first for there, _, log_first in groups if there == number)
            starts |= offsets.from_time([(TOPIC, number)], first)
        stretch = Stretch(starts=starts, ends=ends)
        return [
            arrival
            for records in read_stretch(self._kafka, TOPIC, stretch, name="headrace.credit.open")
            for record in records
            for arrival in self._readable(record)
            if arrival.key in wanted
        ]

    def _readable(self, record: LogRecord) -> list[Arrival]:
        if record.tick:
            return []
        try:
            return arrivals_of(self._codec, record)
        except Unavailable:
            raise
        except SchemaError:  # it is buried where it is taken
            return []
