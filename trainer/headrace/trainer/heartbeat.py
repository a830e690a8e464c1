"""What a trainer reports of itself."""

import time
from pathlib import Path
from typing import Any

from headrace.connectors.worker.heartbeat import write_heartbeat

HEARTBEAT_S = 1.0


class Heartbeat:
    """Writes `file` at most once a second, and at once when what is done changes."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._at = 0.0
        self._doing = ""

    def beat(self, doing: str, **facts: Any) -> None:
        """Tell what is being done, with some numbers."""
        now = time.monotonic()
        if self._file is None or (doing == self._doing and now - self._at < HEARTBEAT_S):
            return
        self._at, self._doing = now, doing
        write_heartbeat(self._file, {"ready": True, "doing": doing, **facts})
