"""When an agent that always fails is given a rest, and when it is tried again. Pure but for a lock.

An agent that raises at once makes thousands of attempts a minute, rollouts of which nobody learns.
So once nothing has ended well for `limit` attempts, only one at a time is tried, less and less
often, until one does.
"""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0


class Failures:
    """Counts attempts that ended badly in a row. Safe to share between threads."""

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
        """Whether nothing has ended well for so long that only single attempts are tried."""
        return self._paused

    def failed(self, why: str) -> None:
        """An attempt ended badly; `why` is for a person."""
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row < self._limit or self._paused:
                return
            self._paused = True
            self._pause_s = FIRST_PAUSE_S
            self._next_try = self._clock() + self._pause_s
            logger.error(
                "the last %d attempts all failed: %s. Pausing: one is tried in %.0f s, then less "
                "often, every %.0f s at last, and all go on when one is ok. Mend the agent and "
                "start this runner again, or wait",
                *(self._in_a_row, why, self._pause_s, LONGEST_PAUSE_S),
            )

    def ok(self) -> None:
        """An attempt ended well."""
        with self._lock:
            if self._paused:
                logger.warning("an attempt is ok again after %d that failed", self._in_a_row)
            self._in_a_row = 0
            self._paused = False

    def may_start(self, running: int) -> bool:
        """Whether another attempt may start now, beside so many that run."""
        with self._lock:
            return not self._paused or (not running and self._clock() >= self._next_try)

    def started(self) -> None:
        """An attempt was started: in a pause the next one waits twice as long."""
        with self._lock:
            if self._paused:
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
                self._next_try = self._clock() + self._pause_s
