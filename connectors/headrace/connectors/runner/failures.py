"""When an agent that always fails is given a rest, and what is said of it.

An agent that raises at once makes thousands of attempts a minute, rollouts of which nobody learns.
"""

import logging
import time
from collections.abc import Callable

from headrace.connectors.worker.rest import LONGEST_PAUSE_S, Rest

logger = logging.getLogger(__name__)


class Failures:
    """Counts attempts that ended badly in a row. Safe to share between threads."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rest = Rest(limit, clock)
        self.last = ""
        """Why the last one that failed did; empty: none has."""

    def failed(self, why: str) -> None:
        """An attempt ended badly; `why` is for a person."""
        self.last = why
        if self.rest.failed():
            logger.error(
                "the last %d attempts all failed: %s. Pausing: one is tried in %.0f s, then less "
                "often, every %.0f s at last, and all go on when one is ok. Mend the agent and "
                "start this runner again, or wait",
                *(self.rest.in_a_row, why, self.rest.next_try_s, LONGEST_PAUSE_S),
            )

    def ok(self) -> None:
        """An attempt ended well."""
        if self.rest.ok():
            logger.warning("an attempt is ok again: all go on")
