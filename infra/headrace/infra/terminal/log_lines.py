"""The log lines of a command that people watch: on its console, and each kind now and then."""

import logging
import time
from collections.abc import Callable

from rich.console import Console

EVERY_S = 60.0
FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# librdkafka tells of a broker that is away twenty times a second.
KAFKA_CLIENT = "headrace.connectors.kafka.client"


def show_logs(console: Console, level: int = logging.INFO) -> None:
    """Send the log lines of this process to a console, above whatever moves there."""
    handler = _OnConsole(console)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(NowAndThen())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each request


class NowAndThen(logging.Filter):
    """Lets one line of a kind through each minute, and says how many it held back.

    Lines are of a kind that come of one statement in the code; librdkafka's, that have the same
    facility (FAIL, ERROR, …).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line may pass; one that does may be made longer."""
        kind = _kind(record)
        passed_at, held = self._seen.get(kind, (float("-inf"), 0))
        now = self._clock()
        if now - passed_at < EVERY_S:
            self._seen[kind] = (passed_at, held + 1)
            return False
        self._seen[kind] = (now, 0)
        if held:
            record.msg = f"{record.getMessage()} (and {held} more like it)"
            record.args = ()
        return True


class _OnConsole(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        except Exception:  # as every handler does: logging never ends what it tells of
            self.handleError(record)


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    arguments = record.args if isinstance(record.args, tuple) else ()
    facility = arguments[0] if record.name == KAFKA_CLIENT and arguments else None
    return record.name, record.msg, str(facility)
