"""The life of one part, in a thread of its own.

The thread lives as long as the part may: the kernel's death signal follows the thread that
started a process, not the process.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Protocol

from headrace.infra.errors import PartFailed
from headrace.infra.supervise import logs
from headrace.infra.supervise.part import Part, PartState, State
from headrace.infra.supervise.process import ChildProcess
from headrace.infra.supervise.pulse import Pulse

logger = logging.getLogger(__name__)

_POLL_S = 0.1
_REPORT_EVERY_S = 2.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0
_STEADY_S = 30.0  # ready for so long, the next crash is a first one
_CRASHES_AT_START = 3  # so many before it was ever ready, and start() gives up


class Board(Protocol):
    """What a runner needs of its supervisor."""

    def publish(self, state: PartState) -> None:
        """Make a new state known."""

    def unready(self, names: tuple[str, ...]) -> list[str]:
        """Return those of the named parts that are not ready."""

    def dependents_stopped(self, name: str) -> bool:
        """Say whether every part that depends on this one has stopped."""


class PartThread(threading.Thread):
    """Starts a part, watches it, starts it again, and ends it when told."""

    def __init__(self, part: Part, board: Board) -> None:
        super().__init__(name=f"part-{part.name}", daemon=True)
        self.part = part
        self.failure: PartFailed | None = None
        """Why start() must give up; only before the part was ever ready."""
        self._board = board
        self._stop_asked = threading.Event()
        self._state = PartState(name=part.name, endpoint=part.endpoint)
        self._was_ready = False
        self._in_a_row = 0

    def ask_to_stop(self) -> None:
        """Let it end its process, after the parts that depend on it."""
        self._stop_asked.set()

    def run(self) -> None:
        """Keep the part running until asked to stop, or until its start has failed."""
        try:
            logs.rotate(self.part.log)
            while not self._stop_asked.is_set() and self.failure is None:
                if self._await_dependencies():
                    self._live_once()
        except Exception as error:  # a bug here must not leave start() waiting
            logger.exception("the supervision of %s broke", self.part.name)
            self._fail(f"its supervision broke: {error!r}")
        if self.failure is None:
            self._report(State.STOPPED, "stopped", pid=None)

    def _await_dependencies(self) -> bool:
        waited_for: list[str] = []
        while not self._stop_asked.is_set():
            missing = self._board.unready(self.part.depends)
            if not missing:
                return True
            if missing != waited_for:
                waited_for = missing
                self._report(State.WAITING, f"waiting for {', '.join(missing)}")
            self._stop_asked.wait(_POLL_S)
        return False

    def _live_once(self) -> None:
        try:
            if self.part.prepare is not None:
                self._report(State.PREPARING, "preparing")
                self.part.prepare()
            command = self.part.command() if callable(self.part.command) else self.part.command
            child = ChildProcess(command, self.part.env, self.part.log, self.part.directory)
        except Exception as error:  # whatever a hook raises is the part's trouble, and is reported
            self._hook_failed("cannot be prepared", error)
            return
        try:
            self._watch(child)
        finally:
            child.stop(self.part.stop_grace_s)  # already ended, unless the start has failed

    def _watch(self, child: ChildProcess) -> None:
        self._report(State.STARTING, "started", pid=child.pid)
        ready_at = self._until_ready(child)
        pulse = Pulse(self.part.ready)
        try:
            while not self._stop_asked.is_set() and self.failure is None:
                code = child.exit_code()
                if code is not None:
                    self._ended(code, ready_at)
                    return
                logs.bound(self.part.log)
                self._tell_silence(pulse.silent_s(), child.pid)
                self._stop_asked.wait(_POLL_S)
        finally:
            pulse.close()
        if self.failure is None:
            self._end(child)

    def _tell_silence(self, silent_s: float, pid: int) -> None:
        if silent_s < self.part.silent_after_s:
            if self._state.state is State.SILENT:
                self._report(State.READY, f"ready{self._where}", pid=pid)
        elif self._state.state is not State.SILENT or silent_s - self._state.silent_s >= 1:
            message = f"not answering for {silent_s:.0f} s"
            self._report(State.SILENT, message, pid=pid, silent_s=silent_s)

    @property
    def _where(self) -> str:
        return f" at {self.part.endpoint}" if self.part.endpoint else ""

    def _until_ready(self, child: ChildProcess) -> float | None:
        """Wait for the probe; return when it answered, None if the process or the wait ended."""
        began = reported = time.monotonic()
        while not self._stop_asked.is_set() and child.exit_code() is None:
            answered, trouble = self._probe()
            if answered:
                if not self._was_ready and not self._set_up():
                    return None
                self._was_ready = True
                self._report(State.READY, f"ready{self._where}", pid=child.pid)
                return time.monotonic()
            now = time.monotonic()
            if not self._was_ready and now - began > self.part.ready_timeout_s:
                self._fail(f"not ready{self._where} after {self.part.ready_timeout_s:.0f} s")
                return None
            if now - reported >= _REPORT_EVERY_S:
                reported = now
                waited = f"no answer yet ({now - began:.0f} s){trouble}"
                self._report(State.STARTING, waited, pid=child.pid)
            self._stop_asked.wait(_POLL_S)
        return None

    def _probe(self) -> tuple[bool, str]:
        try:
            return self.part.ready(), ""
        except Exception as error:  # not an answer; reported with what is waited for
            return False, f": {error!r}"

    def _set_up(self) -> bool:
        if self.part.setup is None:
            return True
        try:
            self.part.setup()
        except Exception as error:  # as with prepare
            self._hook_failed("cannot be set up", error)
            return False
        return True

    def _ended(self, code: int, ready_at: float | None) -> None:
        if ready_at is not None and time.monotonic() - ready_at >= _STEADY_S:
            self._in_a_row = 0
        if code in self.part.final_exits:
            lines = logs.tail(self.part.log)
            last = f"; last log line: {lines[-1]}" if lines else ""
            self._fail(f"ended with exit code {code} and is not started again{last}")
            return
        restarts = self._state.restarts + 1
        if code in self.part.planned_exits and ready_at is not None:
            self._state = replace(self._state, restarts=restarts)
            self._report(State.STARTING, f"restarts itself (exit code {code})", pid=None)
            return
        reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._state = replace(self._state, restarts=restarts)
        self._crashed(reason)

    def _crashed(self, reason: str) -> None:
        self._in_a_row += 1
        lines = logs.tail(self.part.log)
        self._state = replace(self._state, crashes=self._state.crashes + 1, last_log=lines)
        if not self._was_ready and self._in_a_row >= _CRASHES_AT_START:
            self._fail(f"{reason}, {self._in_a_row} times; see {self.part.log}")
            return
        pause = min(_FIRST_PAUSE_S * 2 ** min(self._in_a_row - 1, 10), _LONGEST_PAUSE_S)
        last = f"; last log line: {lines[-1]}" if lines else ""
        self._report(State.CRASHED, f"{reason}, starts again in {pause:g} s{last}", pid=None)
        self._stop_asked.wait(pause)

    def _hook_failed(self, what: str, error: Exception) -> None:
        if self._was_ready:
            self._crashed(f"{what}: {error}")
        else:
            self._fail(f"{what}: {error}", cause=error)

    def _fail(self, message: str, cause: Exception | None = None) -> None:
        lines = () if cause is not None else logs.tail(self.part.log)
        failure = PartFailed(self.part.name, message, lines)
        failure.__cause__ = cause
        self.failure = failure
        self._state = replace(self._state, last_log=lines)
        self._report(State.FAILED, message, pid=None)

    def _end(self, child: ChildProcess) -> None:
        waiting = "waits for the parts that use it"
        self._report(State.STOPPING, waiting, pid=child.pid)
        while not self._board.dependents_stopped(self.part.name):
            time.sleep(_POLL_S)
        self._report(State.STOPPING, "stopping", pid=child.pid)
        child.stop(self.part.stop_grace_s)

    def _report(
        self, state: State, message: str, *, pid: int | None = None, silent_s: float = 0.0
    ) -> None:
        self._state = replace(self._state, state=state, message=message, pid=pid, silent_s=silent_s)
        self._board.publish(self._state)
