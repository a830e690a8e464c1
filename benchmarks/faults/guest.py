"""A second worker of a stage that comes and leaves."""

import os
import signal
import threading
from contextlib import suppress
from dataclasses import replace

from headrace.infra.supervise import Part
from headrace.infra.supervise.process import ChildProcess

_LOOK_S = 0.1


class Guest:
    """Runs a worker under another static member id, again whenever it ends, until it leaves."""

    def __init__(self, part: Part) -> None:
        name = f"{part.name}-1"
        self._part = replace(
            part,
            env={**part.env, "HEADRACE_WORKER": name},
            log=part.log.with_name(f"{name}.log"),
        )
        self._leaving = threading.Event()
        self._abruptly = False
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    def leave(self, *, abruptly: bool) -> None:
        """End it: by SIGKILL, its place kept until its session is over, or by SIGTERM."""
        self._abruptly = abruptly
        self._leaving.set()
        self._thread.join()

    def _live(self) -> None:
        command = self._part.command
        while not self._leaving.is_set():
            child = ChildProcess(
                command() if callable(command) else command, self._part.env, self._part.log
            )
            while child.exit_code() is None and not self._leaving.wait(_LOOK_S):
                pass
            if self._abruptly:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            child.stop(self._part.stop_grace_s)
