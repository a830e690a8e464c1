"""What runs around the tables, as far as this machine tells: parts, and how far behind they are."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.infra.console.ask import Answer, Row
from headrace.infra.launch.behind import behind
from headrace.infra.settings import Settings
from headrace.infra.supervise import State, read_status


@dataclass(kw_only=True, slots=True, frozen=True)
class Around:
    """The parts that a supervisor here runs, and the lag of each worker."""

    parts: list[Row] = field(default_factory=list)
    lags: list[Row] = field(default_factory=list)

    def answers(self) -> list[Answer]:
        """As tables of a page; no query gave them, but a command does."""
        return [
            Answer(name=name, rows=rows, sql="headrace status --json", parameters={})
            for name, rows in (("parts", self.parts), ("lags", self.lags))
        ]


Look = Callable[[], Around]


class Remembered:
    """A look that is taken again after `seconds` at the earliest, however many pages ask."""

    def __init__(
        self, look: Look, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look, self._seconds, self._clock = look, seconds, clock
        self._lock = threading.Lock()
        self._last: tuple[float, Around] | None = None

    def __call__(self) -> Around:
        """What was seen; one asks while the others wait for the same answer."""
        with self._lock:
            if self._last is None or self._clock() - self._last[0] >= self._seconds:
                self._last = (self._clock(), self._look())
            return self._last[1]


def nothing_known() -> Around:
    """Where no supervisor runs: the tables are all there is to see."""
    return Around()


def around(settings: Settings) -> Around:
    """What the supervisor's file and the broker say now; one that is not ready is not asked."""
    known = read_status(settings.directory)
    if known is None or not known.running:
        return Around()
    parts: list[Row] = [
        {
            "part": part.name,
            "state": part.state.value,
            "endpoint": part.endpoint or "",
            "restarts": part.restarts,
            "message": part.message,
        }
        for part in known.parts
    ]
    if any(part.name == "kafka" and part.state is not State.READY for part in known.parts):
        return Around(parts=parts)
    lags: list[Row] = [{"part": name, **lag} for name, lag in behind(settings).items()]
    return Around(parts=parts, lags=lags)
