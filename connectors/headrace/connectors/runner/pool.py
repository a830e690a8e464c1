"""Worker processes, replaced when they die or when an agent in them does not end."""

import itertools
import logging
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from headrace.connectors.runner import worker
from headrace.connectors.runner.jobs import (
    AgentStuck,
    Done,
    Interrupt,
    Job,
    JobCancelled,
    WorkerDied,
)
from headrace.connectors.sdk import SdkConfig

logger = logging.getLogger(__name__)

_STOP_S = 5.0
_spawn = get_context("spawn")


@dataclass(slots=True, eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    jobs: dict[int, "Future[Done]"] = field(default_factory=dict)
    retired: bool = False


class Pool:
    """Runs jobs in long-lived processes. Safe to share between threads."""

    def __init__(self, config: SdkConfig, processes: int) -> None:
        self._config = config
        self._keys = itertools.count()
        self._lock = threading.Lock()
        self._closed = False
        self._running: dict[int, _Worker] = {}
        self._cancelled: set[int] = set()
        self._workers = [self._start() for _ in range(processes)]

    def new_key(self) -> int:
        """A key for a job."""
        return next(self._keys)

    def run(self, job: Job, timeout: float) -> Done:
        """Run a job and wait for it.

        Raises:
            WorkerDied: its process ended meanwhile, or the pool was closed.
            AgentStuck: it did not end within `timeout` seconds.
            JobCancelled: it was cancelled.
        """
        try:
            return self._run(job, timeout)
        finally:
            with self._lock:
                self._cancelled.discard(job.key)
                self._running.pop(job.key, None)

    def cancel(self, key: int) -> None:
        """End a job that runs or is about to; returns at once.

        Its thread is interrupted when it next runs Python, and its process is ended when the
        other jobs in it are over.
        """
        with self._lock:
            self._cancelled.add(key)
            worker = self._running.get(key)
            future = None if worker is None else worker.jobs.pop(key, None)
            if worker is None or future is None:
                return
            with suppress(OSError):  # it has ended
                worker.connection.send(Interrupt(key))
        self._retire(worker, key)
        future.set_exception(JobCancelled())

    def _run(self, job: Job, timeout: float) -> Done:
        with self._lock:
            if self._closed:
                raise WorkerDied("the runner is stopping")
            if job.key in self._cancelled:
                raise JobCancelled
            chosen = min(self._workers, key=lambda each: len(each.jobs))
            future: Future[Done] = Future()
            chosen.jobs[job.key] = future
            self._running[job.key] = chosen
            try:
                chosen.connection.send(job)
            except OSError as error:  # it died and its reader has not seen that yet
                chosen.jobs.pop(job.key, None)
                raise WorkerDied("its worker process has ended") from error
        try:
            return future.result(timeout)
        except FutureTimeout:
            self._retire(chosen, job.key)
            raise AgentStuck(f"not done after {timeout:.1f} s") from None

    def pids(self) -> list[int]:
        """Process ids of the workers that take jobs."""
        with self._lock:
            return [w.process.pid for w in self._workers if w.process.pid is not None]

    def close(self) -> None:
        """End every worker; jobs that run fail with WorkerDied."""
        with self._lock:
            self._closed = True
            workers, self._workers = self._workers, []
        for each in workers:
            try:
                each.connection.send(None)
            except OSError:  # it has ended already
                continue
        for each in workers:
            each.process.join(_STOP_S)
            if each.process.is_alive():
                each.process.kill()
                each.process.join()

    def _start(self) -> _Worker:
        ours, theirs = _spawn.Pipe()
        # Not a daemon: agents may start processes of their own. A worker ends with our pipe.
        process = _spawn.Process(target=worker.main, args=(theirs, self._config), daemon=False)
        process.start()
        theirs.close()
        started = _Worker(process, ours)
        threading.Thread(
            target=self._read, args=(started,), name=f"worker-{process.pid}", daemon=True
        ).start()
        return started

    def _read(self, of: _Worker) -> None:
        try:
            while True:
                done: Done = of.connection.recv()
                with self._lock:
                    future = of.jobs.pop(done.key, None)
                    self._kill_if_idle(of)
                if future is not None:  # else it was given up as stuck
                    future.set_result(done)
        except (EOFError, OSError):
            self._bury(of)

    def _bury(self, dead: _Worker) -> None:
        dead.process.join()
        dead.connection.close()
        with self._lock:
            jobs = list(dead.jobs.values())
            dead.jobs.clear()
            if not self._closed:
                if not dead.retired:
                    logger.warning(
                        "a worker process ended with %s under %d attempts: starting another",
                        *(dead.process.exitcode, len(jobs)),
                    )
                self._replace(dead)
        for future in jobs:
            future.set_exception(WorkerDied(f"its process ended with {dead.process.exitcode}"))

    def _retire(self, stuck: _Worker, key: int) -> None:
        with self._lock:
            stuck.jobs.pop(key, None)
            if not stuck.retired and not self._closed:
                stuck.retired = True  # its other attempts may end in peace
                self._replace(stuck)
            self._kill_if_idle(stuck)

    def _replace(self, old: _Worker) -> None:
        if old in self._workers:
            self._workers[self._workers.index(old)] = self._start()

    def _kill_if_idle(self, each: _Worker) -> None:
        if each.retired and not each.jobs:
            each.process.kill()
