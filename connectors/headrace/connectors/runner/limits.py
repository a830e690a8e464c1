"""What the processes of one attempt may use, and which limit it was that one of them met."""

import contextlib
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_SOFT_CPU_S = 5
_MB = 1_000_000
_PROC = Path("/proc")
_SESSION = 3  # of the fields behind the name in /proc/PID/stat

_SIGNS: Mapping[str, tuple[str, ...]] = {
    "memory_mb": ("MemoryError", "std::bad_alloc", "Cannot allocate memory", "out of memory"),
    "open_files": ("Too many open files",),
    "cpu_s": (f"signal {int(signal.SIGXCPU)}",),
}
"""Limit -> what a process says that met it."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Limits:
    """Limits of one attempt; 0: none."""

    memory_mb: int = 0
    """Address space of each of its processes."""
    cpu_s: int = 0
    """Seconds of processor of each of them."""
    open_files: int = 0
    """Files that each of them may hold open."""
    max_processes: int = 0
    """Processes that it may have at once, itself included."""

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.memory_mb or self.cpu_s or self.open_files or self.max_processes)

    def put_on(self, pid: int) -> None:
        """Hold a process, and what it starts from now on, to all but `max_processes`."""
        self._put(lambda which, limits: resource.prlimit(pid, which, limits))

    def put_on_this(self) -> None:
        """`put_on` for the process that calls."""
        self._put(resource.setrlimit)

    def broken_by(self, *words: str) -> str:
        """The limit that a failed process met, by what it said; empty: none of these."""
        for limit, signs in _SIGNS.items():
            if getattr(self, limit) and any(sign in word for sign in signs for word in words):
                return limit
        return ""

    def too_many(self, session: int) -> str:
        """The limit of processes, if a session has more of them; empty: it has not."""
        if not self.max_processes or processes_of(session) <= self.max_processes:
            return ""
        return "max_processes"

    def _put(self, put: Callable[[int, tuple[int, int]], object]) -> None:
        wanted = {
            resource.RLIMIT_AS: (self.memory_mb * _MB, self.memory_mb * _MB),
            # The hard limit kills; the soft one says why first.
            resource.RLIMIT_CPU: (self.cpu_s, self.cpu_s and self.cpu_s + _SOFT_CPU_S),
            resource.RLIMIT_NOFILE: (self.open_files, self.open_files),
        }
        for which, (soft, hard) in wanted.items():
            if soft:
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    put(which, (soft, hard))


NO_LIMITS = Limits()


def processes_of(session: int) -> int:
    """How many processes a session has, those that have ended and were not waited for left out."""
    return sum(_session_of(path) == session for path in _PROC.glob("[0-9]*"))


def _session_of(path: Path) -> int:
    try:
        fields = (path / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return -1
    return -1 if fields[0] == "Z" else int(fields[_SESSION])
