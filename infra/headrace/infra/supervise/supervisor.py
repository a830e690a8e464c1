"""Starts, watches and stops a set of parts."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from headrace.infra.errors import AlreadyRunning, InfraError, SettingsError
from headrace.infra.supervise.part import OnEvent, Part, PartState, State
from headrace.infra.supervise.runner import PartThread
from headrace.infra.supervise.status import read_status, write_status

_ENDED = (State.STOPPED, State.FAILED)


class Supervisor:
    """Runs parts in the order of their dependencies and keeps them running.

    A crashed part is started again, with growing pauses up to 10 s and without giving up. Every
    part has a process group of its own; when this process dies, however, so do they (Linux).
    Used as a context manager it starts on entry and stops on exit.
    """

    def __init__(self, parts: Sequence[Part], on_event: OnEvent, *, run_dir: Path) -> None:
        _check(parts)
        self._parts = {part.name: part for part in parts}
        self._on_event = on_event
        self._run_dir = run_dir
        self._changed = threading.Condition()
        self._states = {
            part.name: PartState(name=part.name, endpoint=part.endpoint) for part in parts
        }
        self._runners: dict[str, PartThread] = {}
        self._lock: IO[str] | None = None
        self._events = threading.Lock()

    def start(self) -> None:
        """Start all parts and wait until each is ready.

        Raises:
            AlreadyRunning: another supervisor runs in this directory.
            PartFailed: a part could not be prepared, crashed three times before it was ready, or
                was not ready in time. All parts are stopped again.
        """
        self._acquire()
        self._runners = {name: PartThread(part, self) for name, part in self._parts.items()}
        try:
            for runner in self._runners.values():
                runner.start()
            with self._changed:
                self._changed.wait_for(lambda: self._all_ready() or self._failure() is not None)
            if (failure := self._failure()) is not None:
                raise failure
        except BaseException:  # Ctrl-C while starting, too
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all parts, each after those that depend on it, and wait for the end.

        Calling it again, or before start(), does nothing.
        """
        for runner in self._runners.values():
            runner.ask_to_stop()
        for runner in self._runners.values():
            if runner.ident is not None:
                runner.join()
        self._runners = {}
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def states(self) -> list[PartState]:
        """Return what is known about each part now."""
        with self._changed:
            return list(self._states.values())

    def wait_for_restart(self, name: str, *, after: int, timeout_s: float) -> PartState:
        """Wait until a part is ready again with more than `after` restarts.

        Raises:
            InfraError: it was not ready in time.
        """

        def restarted() -> bool:
            state = self._states[name]
            return state.state is State.READY and state.restarts > after

        with self._changed:
            if not self._changed.wait_for(restarted, timeout_s):
                state = self._states[name]
                raise InfraError(
                    f"{name} did not come back in {timeout_s:g} s: {state.state}, {state.message}"
                )
            return self._states[name]

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def publish(self, state: PartState) -> None:
        """Take a part's new state (called by the part's own thread)."""
        with self._events:  # one event at a time, and the file in their order
            with self._changed:
                self._states[state.name] = state
                states = list(self._states.values())
            write_status(self._run_dir, states)
            self._on_event(state.name, state.state, state.message)
            with self._changed:  # last, so that "ready" is reported before start() returns
                self._changed.notify_all()

    def unready(self, names: tuple[str, ...]) -> list[str]:
        """Return those of the named parts that are not ready."""
        with self._changed:
            return [name for name in names if self._states[name].state is not State.READY]

    def dependents_stopped(self, name: str) -> bool:
        """Say whether every part that depends on this one has stopped."""
        with self._changed:
            users = [part.name for part in self._parts.values() if name in part.depends]
            return all(self._states[user].state in _ENDED for user in users)

    def _all_ready(self) -> bool:
        return all(state.state is State.READY for state in self._states.values())

    def _failure(self) -> Exception | None:
        failures = [runner.failure for runner in self._runners.values() if runner.failure]
        return failures[0] if failures else None

    def _acquire(self) -> None:
        self._run_dir.mkdir(parents=True, exist_ok=True)
        lock = (self._run_dir / "supervisor.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone when this process dies
        except BlockingIOError:
            lock.close()
            status = read_status(self._run_dir)
            who = f" (process {status.pid})" if status else ""
            raise AlreadyRunning(
                f"the parts in {self._run_dir} are already running{who}: stop them first"
            ) from None
        self._lock = lock


def _check(parts: Sequence[Part]) -> None:
    known: set[str] = set()
    for part in parts:  # a dependency comes before its user, so there is no circle
        for name in part.depends:
            if name not in known:
                raise SettingsError(f"{part.name} depends on {name}: list {name} before it")
        if part.name in known:
            raise SettingsError(f"two parts are named {part.name}: rename one")
        known.add(part.name)
