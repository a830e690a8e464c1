"""What a trainer reports of itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headrace.connectors.metrics import Reporter

HEARTBEAT_S = 1.0


class Heartbeat:
    """Tells `reporter` at most once a second, and at once when what is done changes."""

    def __init__(self, reporter: Reporter | None) -> None:
        self._reporter = reporter
        self._at = 0.0
        self._doing = ""

    @contextmanager
    def served(self) -> Iterator[None]:
        """The numbers are served as metrics while the block lasts."""
        if self._reporter is None:
            yield
            return
        self._reporter.serve()
        try:
            yield
        finally:
            self._reporter.close()

    def beat(self, doing: str, **facts: Any) -> None:
        """Tell what is being done, with some numbers."""
        now = time.monotonic()
        if self._reporter is None or (doing == self._doing and now - self._at < HEARTBEAT_S):
            return
        self._at, self._doing = now, doing
        self._reporter.tell({"ready": True, "doing": doing, **facts})
