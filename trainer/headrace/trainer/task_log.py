"""Follows `headrace.tasks`, to know which rollouts run.

What is lost or unreadable there costs nothing but a wait: such rollouts are not waited for. So its
offsets are kept nowhere; a start goes back as far as deadlines commonly reach.
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
from headrace.schemas import Codec, Task, from_avro
from headrace.schemas.topics import Topic
from headrace.trainer.reading import STAGE

logger = logging.getLogger(__name__)

READ_S = 0.02
"""How long a look takes; without any time the client hands out nothing that it has fetched."""
BACK_MS = 3_600_000
"""A start reads the tasks of the last hour."""


class TaskLog:
    """Tasks as they are written. Not for sharing between threads."""

    def __init__(self, kafka: KafkaConfig, codec: Codec, patience: Patience, *, name: str) -> None:
        self._kafka, self._patience, self._name = kafka, patience, name
        self._offsets = Offsets(kafka)
        self._decoder: Decoder[dict[str, Any]] = Decoder(
            lambda record: codec.decode(record.topic, record.value), stage=STAGE
        )
        self._tailer: Tailer | None = None

    def read(self, now_ms: int) -> Iterator[tuple[Task, int]]:
        """What has come since, with its log time (milliseconds); waits for nothing but that."""
        if self._tailer is None:
            self._tailer = self._opened(now_ms - BACK_MS)
        try:
            records = [one for one in self._tailer.read(READ_S) if one.value is not None]
        except (LogLost, KafkaUnavailable) as error:
            logger.warning("tasks are read anew: %s", error)
            self.close()
            return
        for record, data in self._decoder.decode(records, self._patience).taken:
            yield from_avro(Task, data), record.log_time

    def close(self) -> None:
        """Leave the broker."""
        if self._tailer is not None:
            self._tailer.close()
            self._tailer = None

    def _opened(self, since: int) -> Tailer:
        ask = self._patience.until_done
        count = ask(partial(partitions_of, self._kafka, Topic.TASKS))
        places = [(Topic.TASKS, partition) for partition in range(count)]
        ends = ask(lambda: self._offsets.ends(places))
        first = ask(lambda: self._offsets.since(places, since))
        starts = {where: first[where] if first[where] >= 0 else end for where, end in ends.items()}
        return ask(lambda: Tailer(self._kafka, [Topic.TASKS], name=self._name, starts=starts))
