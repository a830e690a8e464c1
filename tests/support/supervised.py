"""Supervisors of small Python programs, and the events they tell."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.infra.supervise import Part, PartState, State, Supervisor

FOREVER = "import signal; print('up', flush=True); signal.pause()"
DEADLINE_S = 30.0


class Events:
    """Collects events and lets a test wait for one."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, State, str]] = []
        self._changed = threading.Condition()

    def __call__(self, part: str, state: State, message: str) -> None:
        with self._changed:
            self.seen.append((part, state, message))
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[tuple[str, State, str]], bool], count: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(map(wanted, self.seen)) >= count, DEADLINE_S
            ), self.seen

    def order(self, state: State) -> list[str]:
        return [part for part, reached, _ in self.seen if reached is state]


class Lab:
    """Builds parts and supervisors in a directory, and ends what it started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events = Events()
        self.supervisor: Supervisor | None = None

    def part(self, name: str, program: str = FOREVER, **options: Any) -> Part:
        log = self.directory / f"{name}.log"
        options.setdefault("ready", lambda: "up" in (log.read_text() if log.exists() else ""))
        command = [sys.executable, "-c", textwrap.dedent(program)]
        return Part(name=name, command=command, log=log, **options)

    def supervise(self, *parts: Part) -> Supervisor:
        self.supervisor = Supervisor(parts, self.events, run_dir=self.directory)
        return self.supervisor

    def state(self, name: str) -> PartState:
        assert self.supervisor is not None
        return next(state for state in self.supervisor.states() if state.name == name)

    def pid(self, name: str) -> int:
        pid = self.state(name).pid
        assert pid is not None
        return pid
