"""The engine of `headrace work`: tasks from Kafka, run at least once."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from tempfile import gettempdir

from headrace.connectors.commands.session import send_left_behind
from headrace.connectors.kafka import (
    LogRecord,
    Partition,
    Patience,
    Registry,
    Stopped,
)
from headrace.connectors.runner.attempts import TaskRunner
from headrace.connectors.runner.broker import BrokerWatch
from headrace.connectors.runner.commands import Commands
from headrace.connectors.runner.config import RunnerConfig
from headrace.connectors.runner.ends import Ended, RunnerStats
from headrace.connectors.runner.following import Follower
from headrace.connectors.runner.isolated import Isolated
from headrace.connectors.runner.jobs import Workers
from headrace.connectors.runner.pool import Pool
from headrace.connectors.runner.reading import TaskReader, task_of
from headrace.connectors.runner.retries import How
from headrace.connectors.runner.waiting import Taken, Waiting
from headrace.connectors.sdk import Telemetry, sdk_config
from headrace.schemas import Codec, Halt, Task

logger = logging.getLogger(__name__)

_POLL_S = 0.1
_AGAIN_S = 1.0
_LEFT_BEHIND_S = 10.0


class Runner:
    """Runs the tasks of a consumer group. Construct it, then call `run` once.

    A task's offset is committed when the last attempt at it has ended, so a task may be run again
    (as another attempt, counted from 1) after a crash, and none is left out.
    """

    def __init__(self, config: RunnerConfig) -> None:
        self._config = config
        self._kafka = config.kafka.client("headrace-runner")
        self._sdk = sdk_config(
            config.kafka,
            config.registry,
            config.privacy,
            spool_directory=config.spool_directory,
        )
        self._broker = BrokerWatch(self._kafka)
        self._finished: SimpleQueue[tuple[Taken, Ended | None]] = SimpleQueue()
        self._waiting = Waiting()
        self._running = 0
        self._on_end: Callable[[Ended], None] = lambda _: None
        self._tasks: TaskRunner | None = None
        self._reader: TaskReader | None = None

    @property
    def stats(self) -> RunnerStats:
        """Attempts so far, by how they ended."""
        return self._tasks.stats if self._tasks is not None else RunnerStats()

    @property
    def running(self) -> int:
        """Attempts that run now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Tasks that wait for another attempt."""
        return len(self._waiting)

    @property
    def away(self) -> bool:
        """Whether no broker answers now."""
        return self._broker.away

    @property
    def halted(self) -> Mapping[Partition, Halt]:
        """Partitions of tasks that are not read on until a person says so."""
        return self._reader.halted if self._reader is not None else {}

    @property
    def resting(self) -> bool:
        """Whether all attempts failed for so long that only single ones are tried."""
        return self._tasks is not None and self._tasks.failures.rest.paused

    @property
    def last_failure(self) -> str:
        """Why the newest attempt that failed did; empty: none has."""
        return self._tasks.failures.last if self._tasks is not None else ""

    @property
    def next_try_s(self) -> float:
        """Seconds until a resting runner tries one."""
        return self._tasks.failures.rest.next_try_s if self._tasks is not None else 0.0

    def run(
        self,
        stop: threading.Event,
        on_turn: Callable[[], None] = lambda: None,
        on_end: Callable[[Ended], None] = lambda _: None,
    ) -> None:
        """Run tasks until `stop` is set; then wait for running attempts, `drain_s` at most.

        Attempts that do not end in that time are ended with status error and the event
        `runner_stopped`; their tasks are run again by whoever reads them next. `on_turn` is called
        several times a second and `on_end` with each attempt that has ended, in this thread.

        Raises ReadingFailed if the Kafka client fails for good.
        """
        config = self._config
        slots = config.slots
        self._on_end = on_end
        # Attempts that wait for durability see this one: only after draining are they given up.
        give_up = threading.Event()
        telemetry = Telemetry(self._sdk)
        pool = self._workers(telemetry)
        self._tasks = TaskRunner(config, telemetry, pool, give_up)
        executor = ThreadPoolExecutor(slots, thread_name_prefix="attempt")
        self._reader = TaskReader(
            config,
            self._kafka,
            Patience("the runner", stop=stop, delay_s=_AGAIN_S),
            on_revoked=self._revoked,
            on_error=self._broker.heard,
        )
        # A codec of its own: it is another thread's.
        asked = Registry(config.registry)
        heard = partial(task_of, Codec(asked))
        follower = Follower(self._kafka, config.group, heard, self._tasks.cancellations)
        follower.start()
        try:
            while not stop.is_set():
                self._start_again(slots, executor)
                self._start(self._next(slots), executor)
                self._commit()
                on_turn()
            self._drain(give_up, pool, on_turn)
        except Stopped:  # while it waited: nothing of what it waited with has begun
            self._drain(give_up, pool, on_turn)
        finally:
            give_up.set()
            follower.close()
            pool.close()
            executor.shutdown(wait=True)
            self._commit()
            self._reader.close()
            telemetry.close()
            asked.close()

    def _workers(self, telemetry: Telemetry) -> Workers:
        config = self._config
        scratch = config.scratch or Path(gettempdir()) / f"headrace-{os.getuid()}"
        if config.command is None and config.isolated:
            return Isolated(self._sdk, config.limits, scratch)
        if config.command is None:
            return Pool(self._sdk, config.processes)
        assert config.journals is not None
        if left := send_left_behind(config.journals, telemetry, _LEFT_BEHIND_S):
            logger.warning("%d attempts of a runner that was killed are ended", left)
        return Commands(config.command, telemetry, config.journals, config.limits, scratch)

    def _may_start(self) -> bool:
        assert self._tasks is not None
        return self._tasks.failures.rest.may_start(self._running)

    @property
    def _reading(self) -> TaskReader:
        assert self._reader is not None, "`run` makes it"
        return self._reader

    def _next(self, slots: int) -> list[tuple[LogRecord, Task]]:
        """The next task, if there is room for one; keeps the membership alive."""
        # Tasks that wait hold no slot, but they may not become ever more.
        full = max(self._running, self.waiting) >= slots or not self._may_start()
        read = self._reading.next(_POLL_S, full=full)
        self._broker.ask(self._reading.answers)
        return read

    def _start(self, read: list[tuple[LogRecord, Task]], executor: ThreadPoolExecutor) -> None:
        for record, task in read:
            if task.cancelled:  # the follower has heard of it
                self._reading.finished(record.partition, record.offset)
                continue
            taken = Taken(task=task, partition=record.partition, offset=record.offset)
            self._submit(taken, executor)

    def _start_again(self, slots: int, executor: ThreadPoolExecutor) -> None:
        """Make the attempts that are due, where there is room."""
        assert self._tasks is not None
        while self._running < slots and self._may_start():
            taken = self._waiting.due(time.monotonic(), self._tasks.cancellations.why)
            if taken is None:
                return
            self._submit(taken, executor)

    def _submit(self, taken: Taken, executor: ThreadPoolExecutor) -> None:
        assert self._tasks is not None
        self._running += 1
        self._tasks.failures.rest.started()
        future = executor.submit(self._tasks.run, taken.task, taken.number)
        future.add_done_callback(partial(self._ended, taken))

    def _ended(self, taken: Taken, future: "Future[Ended]") -> None:
        error = future.exception()
        if error is not None:
            logger.error("task %d/%d could not be run", *taken.where, exc_info=error)
        self._finished.put((taken, None if error is not None else future.result()))

    def _commit(self) -> None:
        reader = self._reading
        while not self._finished.empty():
            taken, ended = self._finished.get()
            self._running -= 1
            if ended is not None:
                self._on_end(ended)
            if ended is None or ended.how is How.STOPPED:
                continue  # whoever reads it next runs it
            if ended.again_s is None:
                reader.finished(*taken.where)
            elif reader.holds(taken.partition):
                self._waiting.add(
                    replace(taken, number=taken.number + 1), time.monotonic() + ended.again_s
                )
        reader.commit()

    def _drain(self, give_up: threading.Event, pool: Workers, on_turn: Callable[[], None]) -> None:
        for _ in range(int(self._config.drain_s / _POLL_S) + 1):
            self._commit()
            if not self._running:
                return
            on_turn()
            self._reading.keep_alive(_POLL_S)
        logger.warning("stopping under %d attempts", self._running)
        give_up.set()
        pool.close()

    def _revoked(self, partitions: Sequence[int]) -> None:
        self._commit()
        self._waiting.lost(partitions)
