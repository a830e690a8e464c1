"""One child process in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_SHIM = Path(__file__).with_name("child.py")
_POLL_S = 0.05


class ChildProcess:
    """A running command that dies with the thread that started it."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        directory: Path | None = None,
    ) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                tied_to_this_process(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                umask=0o077,  # logs and data hold what users said to agents
                cwd=directory,
                start_new_session=True,  # its own group, out of reach of the terminal's Ctrl-C
            )

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's too."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return its exit code (minus the signal's number), or None while it runs.

        What it may have left in its group is killed.
        """
        if self._process.returncode is None and self._has_ended():
            self._kill_group()
            self._process.wait()
        return self._process.returncode

    def stop(self, grace_s: float) -> int:
        """End it: SIGTERM to the group, SIGKILL after the grace. Returns its exit code."""
        if self.exit_code() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while (code := self.exit_code()) is None:
            if time.monotonic() > deadline:
                self._kill_group()
                return self._process.wait()
            time.sleep(_POLL_S)
        return code

    def _has_ended(self) -> bool:
        # WNOWAIT leaves the leader a zombie: until it is reaped its group's id is not used again.
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def tied_to_this_process(command: Sequence[str]) -> list[str]:
    """The command, so that it dies with the thread of this process that starts it (Linux)."""
    return [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), *command]
