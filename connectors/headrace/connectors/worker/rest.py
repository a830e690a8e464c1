"""When work that always fails is given a rest, and when it is tried again. Pure but for a lock."""

import threading
import time
from collections.abc import Callable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0


class Rest:
    """Counts failures in a row. Safe to share between threads.

    After `limit` of them only one piece of work is to be tried at a time, each twice as long after
    the one before, until one is ok.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._pause_s = FIRST_PAUSE_S
        self._next_try = 0.0
        self._paused = False

    @property
    def paused(self) -> bool:
        """Whether nothing has been ok for so long that only single ones are tried."""
        return self._paused

    @property
    def in_a_row(self) -> int:
        """Failures since the last one that was ok."""
        return self._in_a_row

    @property
    def next_try_s(self) -> float:
        """Seconds until one is tried in a pause; 0 otherwise."""
        return max(0.0, self._next_try - self._clock()) if self._paused else 0.0

    def failed(self) -> bool:
        """One failed; returns whether a pause begins with it."""
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row < self._limit or self._paused:
                return False
            self._paused = True
            self._pause_s = FIRST_PAUSE_S
            self._next_try = self._clock() + self._pause_s
            return True

    def ok(self) -> bool:
        """One was ok; returns whether a pause ends with it."""
        with self._lock:
            ended = self._paused
            self._in_a_row = 0
            self._paused = False
            return ended

    def may_start(self, running: int = 0) -> bool:
        """Whether another one may start now, beside so many that run."""
        with self._lock:
            return not self._paused or (not running and self._clock() >= self._next_try)

    def started(self) -> None:
        """One was started: in a pause the next one waits twice as long."""
        with self._lock:
            if self._paused:
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
                self._next_try = self._clock() + self._pause_s
