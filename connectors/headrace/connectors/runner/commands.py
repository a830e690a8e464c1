"""Agents that are commands: each job is a process group of its own, watched as `headrace run` does.

A job's folder outlives a killed runner: whoever starts next on it sends what the agent had written.
"""

import itertools
import logging
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from headrace.connectors.commands.collector import Collector
from headrace.connectors.commands.command_line import agent_name
from headrace.connectors.commands.folder import AttemptFolder, Identity, make_folder
from headrace.connectors.commands.private import private_identity
from headrace.connectors.commands.records import Note
from headrace.connectors.commands.results import how_ended, result_of
from headrace.connectors.privacy import Privacy
from headrace.connectors.runner.config import CommandAgent
from headrace.connectors.runner.errors import AgentUnusable
from headrace.connectors.runner.jobs import AgentStuck, Done, Failure, Job, JobCancelled, WorkerDied
from headrace.connectors.runner.limits import NO_LIMITS, Limits
from headrace.connectors.runner.processes import AgentProcess, start_agent
from headrace.connectors.runner.scratch import Scratch
from headrace.connectors.sdk import Attempt, Telemetry

logger = logging.getLogger(__name__)

_LOOK_S = 0.1
_LEFT_S = 5.0
"""How long what an agent left running may still write, once its group was killed."""


class Commands:
    """Runs jobs as processes. Safe to share between threads."""

    def __init__(
        self,
        agent: CommandAgent,
        telemetry: Telemetry,
        journals: Path,
        limits: Limits = NO_LIMITS,
        scratch: Path | None = None,
    ) -> None:
        self._agent = agent
        self._limits = limits
        self._scratch = Scratch(scratch or journals.with_name("scratch"))
        self._telemetry = telemetry
        self._privacy = Privacy(telemetry.config.privacy, telemetry.config.hidden)
        self._journals = journals
        self._keys = itertools.count()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._cancelled: set[int] = set()
        self._noted: set[Note] = set()

    def new_key(self) -> int:
        """A key for a job."""
        return next(self._keys)

    def run(self, job: Job, timeout: float) -> Done:
        """Run a job and wait for its process.

        Raises:
            WorkerDied: the runner stops.
            AgentStuck: it did not end within `timeout` seconds.
            JobCancelled: it was cancelled.
            JournalError: the folder for its spans cannot be used.
        """
        try:
            return self._run(job, timeout)
        finally:
            with self._lock:
                self._cancelled.discard(job.key)

    def cancel(self, key: int) -> None:
        """End a job that runs or is about to; returns at once."""
        with self._lock:
            self._cancelled.add(key)

    def _run(self, job: Job, timeout: float) -> Done:
        if self._closing.is_set():
            raise WorkerDied("the runner is stopping")
        if job.key in self._cancelled:
            raise JobCancelled
        folder = make_folder(
            self._journals, private_identity(_identity(job, self._agent), self._privacy)
        )
        attempt = Attempt(
            self._telemetry,
            job.rollout_id,
            job.attempt,
            project=job.project,
            subject=job.subject,
            agent=agent_name(self._agent.words),
            root=job.root,
        )
        collector = Collector(folder.path, attempt, redirected=True)
        try:
            with self._scratch.folder(job.attempt) as scratch:
                process = start_agent(
                    self._agent, job, folder, self._limits, scratch, self._telemetry.config.privacy
                )
                done = self._watched(process, collector, job, timeout)
        except OSError as error:
            done = Done(key=job.key, failure=_cannot_start(self._agent, error))
        finally:
            collector.close()
            self._note(collector.notes, folder)
            # The spans are the SDK's now, and the end is the runner's to tell.
            folder.remove()
        return done

    def close(self) -> None:
        """End every process."""
        self._closing.set()
        self._scratch.close()

    def _watched(
        self, process: AgentProcess, collector: Collector, job: Job, timeout: float
    ) -> Done:
        end = time.monotonic() + timeout
        exceeded = ""
        try:
            while not process.has_ended(_LOOK_S):
                collector.collect()
                if self._closing.is_set():
                    raise WorkerDied("the runner stopped it")
                if job.key in self._cancelled:
                    raise JobCancelled
                if time.monotonic() >= end:
                    raise AgentStuck(f"not done after {timeout:.1f} s")
                if exceeded := self._limits.too_many(process.pid):
                    break
        finally:
            code = process.end(self._agent.grace_s)
            self._collect_rest(collector, {process.pid: how_ended(code)})
        if exceeded:
            failure = Failure(name="LimitExceeded", message="too many processes", trace="")
            return Done(key=job.key, failure=replace(failure, limit=exceeded))
        if code:
            failure = process.failure(code)
            limit = self._limits.broken_by(failure.name, failure.message)
            return Done(key=job.key, failure=replace(failure, limit=limit))
        return Done(key=job.key, output=result_of(process.result()))

    def _collect_rest(self, collector: Collector, exits: Mapping[int, str]) -> None:
        """Read on until nobody writes any more: the group was killed, and mostly that is all."""
        end = time.monotonic() + _LEFT_S
        while not collector.collect(exits):
            if time.monotonic() >= end:
                logger.warning(
                    "%s left processes in sessions of their own that still run: what they write "
                    "from now on is not kept",
                    agent_name(self._agent.words),
                )
                return
            time.sleep(_LOOK_S / 10)

    def _note(self, notes: set[Note], folder: AttemptFolder) -> None:
        """Tell once what every attempt would tell again."""
        if folder.has_no_headrace:
            notes = notes | {
                Note(framework="the agent's Python has no headrace", package="headrace", trouble="")
            }
        with self._lock:
            news = notes - self._noted
            self._noted |= news
        for note in news:
            if note.package:
                logger.warning(
                    "%s: only its model calls are seen; for its steps and tools install %s",
                    *(note.framework, note.package),
                )
            else:
                logger.warning("%s: no spans of it: %s", note.framework, note.trouble)


def check_command(agent: CommandAgent) -> None:
    """Whether a command can be started here. Raises AgentUnusable."""
    if shutil.which(agent.words[0]) is None:
        raise AgentUnusable(
            f"{agent.words[0]} is no program that can be started here: give its path, or start the "
            "runner where it is"
        )
    has_input = any("{input}" in word for word in agent.words)
    if has_input != (agent.input == "argument"):
        raise AgentUnusable(
            "the command has no {input}: put it where the task belongs, or give --input stdin"
            if agent.input == "argument"
            else f"the command has {{input}}, and --input {agent.input} gives the task elsewhere: "
            "give one of both"
        )


def _identity(job: Job, agent: CommandAgent) -> Identity:
    return Identity(
        project=job.project,
        rollout_id=job.rollout_id,
        attempt=job.attempt,
        root=job.root,
        end_id=job.end_id,
        started_at=time.time_ns(),
        agent=agent_name(agent.words),
        subject=job.subject,
        task_input=job.task_input,
        starts=False,
    )


def _cannot_start(agent: CommandAgent, error: OSError) -> Failure:
    message = f"{agent.words[0]} cannot be started: {error.strerror}"
    if isinstance(error, OSError) and error.errno == 7:  # E2BIG
        message += "; give long tasks by --input stdin"
    return Failure(name=type(error).__name__, message=message, trace="")
