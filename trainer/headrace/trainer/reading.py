"""What the trainer reads of the log: records decoded, the others counted, halted where it must be.

Positions are the trainer's own: the last committed version says where to read on.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from headrace.connectors.kafka import (
    UNKNOWN_SCHEMA_S,
    DeadLetter,
    DeadLetters,
    Decoder,
    Guard,
    KafkaConfig,
    LogRecord,
    Partition,
    Patience,
    partitions_of,
)
from headrace.schemas import Codec
from headrace.schemas.topics import Topic
from headrace.trainer.heartbeat import Heartbeat
from headrace.trainer.pinned import Position

STAGE = "trainer"
READ = (Topic.CREDITS, Topic.SAMPLES)
ASK_S = 2.0
"""How often a halted trainer asks whether it may go on."""


def position_of(record: LogRecord) -> Position:
    """Where a record is in the log."""
    return Position(record.topic, record.partition, record.offset, record.log_time)


class Reading:
    """Decodes records; the dead letters of those that cannot be are durable when it returns."""

    def __init__(
        self,
        codec: Codec,
        dead_letters: DeadLetters,
        patience: Patience,
        unknown_schema_s: float = UNKNOWN_SCHEMA_S,
    ) -> None:
        self.dead_letters = 0
        self._letters = dead_letters
        self._patience = patience
        self._decoder: Decoder[dict[str, Any]] = Decoder(
            lambda record: codec.decode(record.topic, record.value),
            stage=STAGE,
            unknown_schema_s=unknown_schema_s,
        )

    def decode(
        self, records: Sequence[LogRecord]
    ) -> tuple[list[tuple[LogRecord, dict[str, Any]]], list[DeadLetter]]:
        """The records' contents in the order of the log, and what was refused.

        Tombstones of a compacted topic are passed over.
        """
        decoded = self._decoder.decode(
            [one for one in records if one.value is not None], self._patience
        )
        self._patience.until_done(lambda: self._letters.send(decoded.refused))
        self.dead_letters += len(decoded.refused)
        return decoded.taken, decoded.refused


def readable(
    kafka: KafkaConfig,
    guard: Guard,
    patience: Patience,
    heartbeat: Heartbeat,
    needed: Mapping[Partition, int],
) -> dict[Partition, int]:
    """The offsets at which to read on, per partition; returns when none of them is halted.

    needed: the lowest undecided of the last committed version. Raises Stopped while it waits.
    """
    places = [
        (topic, partition)
        for topic in READ
        for partition in range(patience.until_done(partial(partitions_of, kafka, topic)))
    ]
    while True:
        starts = patience.until_done(lambda: guard.assigned(places, needed))
        if not guard.halted:
            return starts
        heartbeat.beat("halted", halted=guard.report())
        patience.pause(seconds=ASK_S)
