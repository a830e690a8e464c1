"""Agents that are functions, each attempt in a process and a session of its own."""

import contextlib
import itertools
import os
import signal
import threading
import time
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from headrace.connectors.commands.results import how_ended
from headrace.connectors.runner import worker
from headrace.connectors.runner.jobs import (
    AgentStuck,
    Done,
    Failure,
    Job,
    JobCancelled,
    WorkerDied,
)
from headrace.connectors.runner.limits import Limits
from headrace.connectors.runner.scratch import Scratch
from headrace.connectors.sdk import SdkConfig

_LOOK_S = 0.1
_STOP_S = 5.0
# Forked from a server that has one thread and has imported what every attempt needs.
_server = get_context("forkserver")


class Isolated:
    """Runs jobs as processes. Safe to share between threads."""

    def __init__(self, config: SdkConfig, limits: Limits, scratch: Path) -> None:
        self._config = config
        self._limits = limits
        self._scratch = Scratch(scratch)
        self._keys = itertools.count()
        self._closing = threading.Event()
        self._cancelled: set[int] = set()
        _server.set_forkserver_preload([worker.__name__])

    def new_key(self) -> int:
        """A key for a job."""
        return next(self._keys)

    def run(self, job: Job, timeout: float) -> Done:
        """Run a job and wait for its process.

        Raises:
            WorkerDied: its process ended by itself, or the runner stops.
            AgentStuck: it did not end within `timeout` seconds.
            JobCancelled: it was cancelled.
            JournalError: no scratch folder can be made for it.
        """
        self._check(job.key)
        with self._scratch.folder(job.attempt) as folder:
            ours, theirs = _server.Pipe()
            process = _server.Process(
                target=worker.alone, args=(theirs, self._config, job, self._limits, folder)
            )
            try:
                process.start()
                theirs.close()
                return self._watched(process, ours, job, timeout)
            finally:
                _end(process)
                ours.close()
                self._cancelled.discard(job.key)

    def cancel(self, key: int) -> None:
        """End a job that runs or is about to; returns at once."""
        self._cancelled.add(key)

    def close(self) -> None:
        """End every process."""
        self._closing.set()
        self._scratch.close()

    def _check(self, key: int) -> None:
        if self._closing.is_set():
            raise WorkerDied("the runner is stopping")
        if key in self._cancelled:
            raise JobCancelled

    def _watched(
        self, process: ForkServerProcess, ours: Connection, job: Job, timeout: float
    ) -> Done:
        end = time.monotonic() + timeout
        while not wait([ours, process.sentinel], _LOOK_S):
            self._check(job.key)
            if time.monotonic() >= end:
                raise AgentStuck(f"not done after {timeout:.1f} s")
            if limit := self._limits.too_many(process.pid or 0):
                failure = Failure(name="LimitExceeded", message="too many processes", trace="")
                return Done(key=job.key, failure=replace(failure, limit=limit))
        with contextlib.suppress(EOFError, OSError):
            if ours.poll():
                done: Done = ours.recv()
                return done
        process.join(_STOP_S)
        ended = how_ended(process.exitcode or 0)
        if limit := self._limits.broken_by(ended):
            return Done(key=job.key, failure=Failure(name=ended, message="", trace="", limit=limit))
        raise WorkerDied(f"its process ended with {ended}")


def _end(process: ForkServerProcess) -> None:
    """End a process, and all that it started and that stayed in its session's group."""
    if process.pid is None:  # it never began
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join(_STOP_S)
