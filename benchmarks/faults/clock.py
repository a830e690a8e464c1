"""A process's wall clock, moved by what stands in a file: a machine whose clock is set anew."""

import time
from pathlib import Path


class MovedClock:
    """Puts `time.time` and `time.time_ns` of this process ahead by the seconds in a file.

    Before anything keeps a clock of its own: monotonic clocks and the broker's stay as they are.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._real, self._real_ns = time.time, time.time_ns

    def install(self) -> None:
        """From now on everything in this process reads the moved clock."""
        time.time = lambda: self._real() + self.ahead_s()
        time.time_ns = lambda: self._real_ns() + int(self.ahead_s() * 1e9)

    def ahead_s(self) -> float:
        """Seconds, negative for a clock that is behind."""
        try:
            return float(self._file.read_text() or 0)
        except (FileNotFoundError, ValueError):  # not there, or just being written
            return 0.0
