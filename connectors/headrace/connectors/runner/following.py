"""Hears of cancelled tasks ahead of the consumer group, which reads a task only to run it."""

import logging
import threading
from collections.abc import Callable

from headrace.connectors.kafka import (
    Decoder,
    KafkaClientError,
    KafkaConfig,
    LogRecord,
    Offsets,
    Patience,
    Stopped,
    Tailer,
    partitions_of,
)
from headrace.connectors.runner.cancellations import Cancellations
from headrace.schemas import Task
from headrace.schemas.topics import Topic

logger = logging.getLogger(__name__)

TOPIC = Topic.TASKS
_AGAIN_S = 1.0


class Follower(threading.Thread):
    """Reads tasks from where a consumer group is, and tells of those that are taken back.

    The record that takes a task back comes after the task in its partition. So what comes before
    the group's committed offset is about nothing that this runner will run.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        group: str,
        decode: Callable[[LogRecord], Task],
        cancellations: Cancellations,
    ) -> None:
        super().__init__(name="cancellations", daemon=True)
        self._kafka = kafka
        self._group = group
        self._cancellations = cancellations
        self._closing = threading.Event()
        self._patience = Patience("cancellations", stop=self._closing, delay_s=_AGAIN_S)
        # Whoever reads a record to run it waits for its schema; who cancels has registered it.
        self._decoder = Decoder(decode, stage="runner", unknown_schema_s=0.0)

    def run(self) -> None:
        """Follow the log until `close`, whatever happens to the brokers."""
        while not self._closing.is_set():
            try:
                self._follow()
            except Stopped:
                return
            except KafkaClientError as error:
                logger.debug("cancellations are read again: %s", error)
                self._closing.wait(_AGAIN_S)
            except Exception:  # no task would begin any more, and nobody would know why
                logger.exception("cancellations cannot be read; trying again")
                self._closing.wait(_AGAIN_S)

    def close(self) -> None:
        """End it."""
        self._closing.set()
        self.join()

    def _follow(self) -> None:
        tailer = self._opened()
        try:
            while not self._closing.is_set():
                records = [one for one in tailer.read() if one.value is not None]
                # What cannot be read is refused by whoever reads it to run it.
                for _, task in self._decoder.decode(records, self._patience).taken:
                    if task.cancelled:
                        self._cancellations.cancel(task)
                if tailer.caught_up:
                    self._cancellations.known.set()
        finally:
            tailer.close()

    def _opened(self) -> Tailer:
        places = [(str(TOPIC), number) for number in range(partitions_of(self._kafka, TOPIC))]
        offsets = Offsets(self._kafka)
        starts = offsets.starts(places)
        committed = offsets.committed(self._group, places)
        begins = {where: max(at, committed.get(where, 0)) for where, at in starts.items()}
        return Tailer(self._kafka, [TOPIC], name="headrace.runner", starts=begins)
