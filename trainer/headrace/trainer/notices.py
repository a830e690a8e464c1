"""Follows `headrace.tasks` and `headrace.policies`: which rollouts run, which version is served.

What is lost or unreadable there costs no sample: a wait at most, or a step from the newest version.
So its offsets are kept nowhere. A start goes back as far as deadlines commonly reach (a task pinned
to a version longer ago does not hold that after a restart); the traffic of before then is read with
the versions (`recover`).
"""

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

from headrace.connectors.kafka import (
    Decoder,
    KafkaConfig,
    KafkaUnavailable,
    LogLost,
    Offsets,
    Patience,
    Tailer,
    partitions_of,
)
from headrace.schemas import Codec, PolicyRecord, Task, Traffic, from_avro
from headrace.schemas.topics import Topic
from headrace.trainer.reading import STAGE

logger = logging.getLogger(__name__)

READ_S = 0.02
"""How long a look takes; without any time the client hands out nothing that it has fetched."""
TOPICS = (Topic.TASKS, Topic.POLICIES)
BACK_MS = 3_600_000
"""A start reads the last hour."""


class Notices:
    """Tasks and traffic as they are written. Not for sharing between threads."""

    def __init__(self, kafka: KafkaConfig, codec: Codec, patience: Patience, *, name: str) -> None:
        self._kafka, self._patience, self._name = kafka, patience, name
        self._offsets = Offsets(kafka)
        # No patience with a schema that the registry does not know: training would wait for a
        # record without which it goes on.
        self._decoder: Decoder[dict[str, Any]] = Decoder(
            lambda record: codec.decode(record.topic, record.value),
            stage=STAGE,
            unknown_schema_s=0.0,
        )
        self._tailer: Tailer | None = None

    @property
    def caught_up(self) -> bool:
        """Whether each partition has been read once to where its first open transaction begins."""
        return self._tailer is not None and self._tailer.caught_up

    def read(self, now_ms: int) -> Iterator[tuple[Task | Traffic, int]]:
        """What has come since, with its log time (milliseconds); waits for nothing but that."""
        if self._tailer is None:
            self._tailer = self._opened(now_ms - BACK_MS)
        try:
            records = [one for one in self._tailer.read(READ_S) if one.value is not None]
        except (LogLost, KafkaUnavailable) as error:
            logger.warning("tasks and traffic are read again: %s", error)
            self.close()
            return
        for record, data in self._decoder.decode(records, self._patience).taken:
            if record.topic == Topic.TASKS:
                yield from_avro(Task, data), record.log_time
            elif (traffic := from_avro(PolicyRecord, data).traffic) is not None:
                yield traffic, record.log_time

    def close(self) -> None:
        """Leave the broker."""
        if self._tailer is not None:
            self._tailer.close()
            self._tailer = None

    def _opened(self, since: int) -> Tailer:
        ask = self._patience.until_done
        places = [
            (topic, partition)
            for topic in TOPICS
            for partition in range(ask(partial(partitions_of, self._kafka, topic)))
        ]
        starts = ask(lambda: self._offsets.from_time(places, since))
        return ask(lambda: Tailer(self._kafka, TOPICS, name=self._name, starts=starts))
