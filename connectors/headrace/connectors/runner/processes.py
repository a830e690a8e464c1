"""The process of one attempt: a group of its own, its limits, its output, its end."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import IO

from headrace.connectors.commands.command_line import filled
from headrace.connectors.commands.environment import agent_environment
from headrace.connectors.commands.folder import AttemptFolder
from headrace.connectors.commands.results import MOST, how_ended
from headrace.connectors.instrument import names
from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.runner.config import CommandAgent
from headrace.connectors.runner.jobs import Failure, Job
from headrace.connectors.runner.limits import Limits
from headrace.connectors.runner.scratch import scratch_environment

_OUTPUT_S = 2.0
_TRACE = 20_000  # characters of stderr that a failure keeps


def start_agent(
    agent: CommandAgent,
    job: Job,
    folder: AttemptFolder,
    limits: Limits,
    scratch: Path,
    privacy: PrivacySettings,
) -> "AgentProcess":
    """Start a job's process, in a session of its own. Raises OSError."""
    task = _plain(job.task_input)
    environment = agent_environment(
        os.environ,
        folder,
        job.gateway_url,
        job.api_key,
        privacy,
        names_agents=job.names_agents,
    )
    environment[names.RESULT_FILE] = str(folder.path / "result")
    environment[names.MODEL] = job.model
    environment |= scratch_environment(scratch)
    if agent.input == "environment":
        environment[names.TASK_INPUT] = task
    words = filled(agent.words, {"input": task, "model": job.model, "rollout": job.rollout_id})
    try:
        # In memory: a task may hold what is not to lie on a disk.
        with open(os.memfd_create("headrace-task"), "w+b") as stdin:  # noqa: PTH123 - it has no path
            stdin.write(task.encode() if agent.input == "stdin" else b"")
            stdin.seek(0)
            process = subprocess.Popen(
                words,
                env=environment,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=[folder.lock],
            )
    except ValueError as error:  # a NUL in a word or in the environment
        raise OSError(22, str(error)) from error
    limits.put_on(process.pid)
    return AgentProcess(process, folder)


class AgentProcess:
    """A running agent. Not thread-safe."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: AttemptFolder) -> None:
        self.pid = process.pid
        self._process = process
        self._folder = folder
        assert process.stdout is not None
        assert process.stderr is not None
        self._output = _Tail(process.stdout)
        self._errors = _Tail(process.stderr)

    def has_ended(self, within: float) -> bool:
        """Wait up to `within` seconds for its end; its group is still there after it."""
        end = time.monotonic() + within
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(0.01, left))
        return True

    def end(self, grace_s: float) -> int:
        """End it, by SIGTERM and then SIGKILL, and all that is left of its group; its exit code."""
        if not self.has_ended(0):
            self._signal(signal.SIGTERM)
            self.has_ended(grace_s)
        self._signal(signal.SIGKILL)
        code = self._process.wait()
        for tail in (self._output, self._errors):
            tail.join(_OUTPUT_S)
        return code

    def result(self) -> str:
        """What it wrote to its result file, else to stdout."""
        with contextlib.suppress(OSError):
            return (self._folder.path / "result").read_text(encoding="utf-8", errors="replace")
        return self._output.text

    def failure(self, code: int) -> Failure:
        """Why it failed, as its stderr tells."""
        lines = self._errors.text[-_TRACE:].strip().splitlines()
        return Failure(
            name=how_ended(code), message=lines[-1] if lines else "", trace="\n".join(lines)
        )

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


class _Tail(threading.Thread):
    """Reads all of a stream and keeps its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._data = b""
        self.start()

    @property
    def text(self) -> str:
        return self._data.decode(errors="replace")

    def run(self) -> None:
        with self._stream:
            while data := os.read(self._stream.fileno(), 65_536):
                self._data = (self._data + data)[-MOST:]


def _plain(task_input: str) -> str:
    """A task as a command takes it: a string as its text, anything else as JSON."""
    try:
        value = json.loads(task_input) if task_input else ""
    except (ValueError, RecursionError):
        return task_input
    return value if isinstance(value, str) else task_input
