"""The engine of `headrace work`: tasks from Kafka, run at least once."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from headrace.connectors.kafka import (
    DeadLetter,
    DeadLetters,
    KafkaUnavailable,
    Registry,
    consumer_settings,
    in_words,
)
from headrace.connectors.runner.attempts import RunnerStats, TaskRunner
from headrace.connectors.runner.broker import BrokerWatch
from headrace.connectors.runner.config import RunnerConfig
from headrace.connectors.runner.errors import ReadingFailed
from headrace.connectors.runner.offsets import Offsets
from headrace.connectors.runner.pool import Pool
from headrace.connectors.sdk import Telemetry, sdk_config
from headrace.schemas import (
    Codec,
    MalformedRecord,
    RegistryUnavailable,
    Task,
    UnknownSchemaId,
    check_id,
    from_avro,
)
from headrace.schemas.topics import Topic
from headrace.schemas.vocabulary import LetterReason

logger = logging.getLogger(__name__)

TOPIC = Topic.TASKS
_POLL_S = 0.1
_AGAIN_S = 1.0
_ANSWER_S = 0.5


class Runner:
    """Runs the tasks of a consumer group. Construct it, then call `run` once.

    A task's offset is committed when an attempt at it has ended, so a task may be run again
    (as another attempt) after a crash, and none is left out.
    """

    def __init__(self, config: RunnerConfig) -> None:
        self._config = config
        self._kafka = config.kafka.client("headrace-runner")
        self._sdk = sdk_config(
            config.kafka, config.registry, spool_directory=config.spool_directory
        )
        self._broker = BrokerWatch(config.kafka.bootstrap)
        self._offsets = Offsets()
        self._finished: SimpleQueue[tuple[int, int]] = SimpleQueue()
        self._running = 0
        self._paused = False
        self._tasks: TaskRunner | None = None

    @property
    def stats(self) -> RunnerStats:
        """Attempts so far, by how they ended."""
        return self._tasks.stats if self._tasks is not None else RunnerStats()

    @property
    def running(self) -> int:
        """Attempts that run now."""
        return self._running

    @property
    def away(self) -> bool:
        """Whether no broker answers now."""
        return self._broker.away

    @property
    def resting(self) -> bool:
        """Whether all attempts failed for so long that only single ones are tried."""
        return self._tasks is not None and self._tasks.failures.paused

    def run(self, stop: threading.Event, on_turn: Callable[[], None] = lambda: None) -> None:
        """Run tasks until `stop` is set; then wait for running attempts, `drain_s` at most.

        Attempts that do not end in that time are ended with status error and the event
        `runner_stopped`; their tasks are run again by whoever reads them next. `on_turn` is called
        several times a second, in this thread.

        Raises ReadingFailed if the Kafka client fails for good.
        """
        config = self._config
        slots = config.processes * config.concurrency
        # Attempts that wait for durability see this one: only after draining are they given up.
        give_up = threading.Event()
        registry = Registry(config.registry)
        codec = Codec(registry)
        letters = DeadLetters(self._kafka)
        telemetry = Telemetry(self._sdk)
        pool = Pool(self._sdk, config.processes)
        self._tasks = TaskRunner(config, telemetry, pool, give_up)
        executor = ThreadPoolExecutor(slots, thread_name_prefix="attempt")
        consumer = Consumer(
            consumer_settings(
                self._kafka,
                group=config.group,
                session_timeout_ms=10_000,
                partition_assignment_strategy="cooperative-sticky",
            )
            | {"error_cb": self._broker.heard}
        )
        consumer.subscribe([TOPIC], on_revoke=self._revoked, on_lost=self._lost)
        try:
            while not stop.is_set():
                message = self._next(consumer, slots)
                if message is not None:
                    self._start(message, codec, letters, executor, stop)
                self._commit(consumer)
                on_turn()
            self._drain(consumer, give_up, pool, on_turn)
        finally:
            give_up.set()
            pool.close()
            executor.shutdown(wait=True)
            self._commit(consumer)
            consumer.close()
            telemetry.close()
            letters.close()
            registry.close()

    def _may_start(self) -> bool:
        assert self._tasks is not None
        return self._tasks.failures.may_start(self._running)

    def _next(self, consumer: Consumer, slots: int) -> Any:
        """The next task's message, if there is room for one; keeps the membership alive."""
        full = self._running >= slots or not self._may_start()
        if full != self._paused:
            (consumer.pause if full else consumer.resume)(consumer.assignment())
            self._paused = full
        message = consumer.poll(_POLL_S)
        self._broker.ask(lambda: consumer.list_topics(TOPIC, timeout=_ANSWER_S))
        if message is None or message.error() is None:
            return message
        error = message.error()
        if error is not None and error.fatal():
            raise ReadingFailed(
                f"cannot read {TOPIC} on {self._config.kafka.bootstrap}: {in_words(error)}"
            )
        logger.debug("reading %s: %s", TOPIC, error)  # what lasts, the client's log tells
        return None

    def _start(
        self,
        message: Any,
        codec: Codec,
        letters: DeadLetters,
        executor: ThreadPoolExecutor,
        stop: threading.Event,
    ) -> None:
        partition, offset = message.partition(), message.offset()
        self._offsets.started(partition, offset)
        try:
            task = _decode(codec, message, stop)
        except MalformedRecord as error:
            logger.error("%s/%d/%d is no task: %s", TOPIC, partition, offset, error)
            if _bury(letters, message, str(error), stop):
                self._offsets.finished(partition, offset)
            return
        if task is None:  # stopped while the registry was away
            return
        assert self._tasks is not None
        self._running += 1
        self._tasks.failures.started()
        future = executor.submit(self._tasks.run, task)
        future.add_done_callback(partial(self._ended, partition, offset))

    def _ended(self, partition: int, offset: int, future: "Future[bool]") -> None:
        error = future.exception()
        if error is not None:
            logger.error("task %d/%d could not be run", partition, offset, exc_info=error)
        self._finished.put((partition, offset if error is None and future.result() else -1))

    def _commit(self, consumer: Consumer) -> None:
        while not self._finished.empty():
            partition, offset = self._finished.get()
            self._running -= 1
            if offset >= 0:
                self._offsets.finished(partition, offset)
        news = self._offsets.committable()
        if not news:
            return
        offsets = [TopicPartition(TOPIC, number, offset) for number, offset in news.items()]
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:  # the tasks are run again after a restart
            logger.warning("cannot commit %s: %s", TOPIC, error)

    def _drain(
        self,
        consumer: Consumer,
        give_up: threading.Event,
        pool: Pool,
        on_turn: Callable[[], None],
    ) -> None:
        consumer.pause(consumer.assignment())
        for _ in range(int(self._config.drain_s / _POLL_S) + 1):
            self._commit(consumer)
            if not self._running:
                return
            on_turn()
            consumer.poll(_POLL_S)
        logger.warning("stopping under %d attempts", self._running)
        give_up.set()
        pool.close()

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit(consumer)
        self._lost(consumer, partitions)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._offsets.lost(each.partition)


def _decode(codec: Codec, message: Any, stop: threading.Event) -> Task | None:
    while not stop.is_set():
        try:
            task = from_avro(Task, codec.decode(TOPIC, message.value()))
            for name in ("project", "rollout_id"):
                check_id(getattr(task, name), name)
        except (RegistryUnavailable, UnknownSchemaId) as error:
            logger.warning("a task waits for the registry: %s", error)
            stop.wait(_AGAIN_S)
        except MalformedRecord:
            raise
        except ValueError as error:
            raise MalformedRecord(str(error)) from error
        else:
            return task
    return None


def _bury(letters: DeadLetters, message: Any, why: str, stop: threading.Event) -> bool:
    letter = DeadLetter(
        topic=TOPIC,
        partition=message.partition(),
        offset=message.offset(),
        value=message.value(),
        reason=LetterReason.MALFORMED,
        message=why,
        stage="runner",
    )
    while not stop.is_set():
        try:
            letters.send([letter])
        except KafkaUnavailable as error:
            logger.warning("a dead letter waits for Kafka: %s", error)
            stop.wait(_AGAIN_S)
        else:
            return True
    return False
