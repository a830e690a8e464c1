"""Asks a part that is ready again and again whether it still answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

ASK_EVERY_S = 2.0


class Pulse:
    """For how long a part has not answered its probe.

    The probe runs in a thread of its own: one that hangs hides neither a crash nor the silence.
    """

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._closed = threading.Event()
        self._answered_at = time.monotonic()
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def silent_s(self) -> float:
        """Seconds since the last answer."""
        return time.monotonic() - self._answered_at

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(ASK_EVERY_S):
            began = time.monotonic()
            try:
                if self._ask():
                    self._answered_at = began
            except Exception as error:  # not an answer
                logger.debug("a probe failed: %r", error)
