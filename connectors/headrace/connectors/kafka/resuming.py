"""Asking, now and then, whether a person has let halted partitions go on."""

import time
from collections.abc import Callable

from headrace.connectors.kafka.guard import Guard
from headrace.connectors.kafka.offsets import Partition
from headrace.connectors.kafka.waiting import Patience

ASK_S = 1.0
"""Seconds between two questions: each reads `headrace.halts` whole."""


class Resuming:
    """The questions of one reader. While nothing is halted, none is asked."""

    def __init__(
        self, guard: Guard, patience: Patience, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._guard, self._patience, self._clock = guard, patience, clock
        self._ask_at = 0.0

    def take_up(self) -> dict[Partition, int]:
        """Where each partition that may go on since the last question is read on.

        Raises Stopped while it waits.
        """
        if not self._guard.halted or self._clock() < self._ask_at:
            return {}
        self._ask_at = self._clock() + ASK_S
        return self._patience.until_done(self._guard.take_up)
