"""Log lines that people watch."""

import io
import logging
from collections.abc import Iterator

import pytest
from rich.console import Console

from headrace.infra.terminal.log_lines import EVERY_S, KAFKA_CLIENT, NowAndThen, show_logs


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def record(name: str, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "f.py", 1, message, arguments, None)


def test_a_kind_of_line_passes_once_a_minute_and_says_how_many_were_held_back() -> None:
    now = 0.0
    now_and_then = NowAndThen(clock=lambda: now)
    passed = []
    for second in range(int(2 * EVERY_S) + 1):
        now = float(second)
        line = record("headrace.x", "attempt %d failed", second)
        if now_and_then.filter(line):
            passed.append(line.getMessage())
    held = int(EVERY_S) - 1
    assert passed == [
        "attempt 0 failed",
        f"attempt {held + 1} failed (and {held} more like it)",
        f"attempt {2 * held + 2} failed (and {held} more like it)",
    ]


def test_librdkafka_lines_are_of_a_kind_by_their_facility_and_others_by_their_statement() -> None:
    now_and_then = NowAndThen(clock=lambda: 0.0)
    lines = [
        record(KAFKA_CLIENT, "%s [%s] %s", "FAIL", "consumer-1", "refused"),
        record(KAFKA_CLIENT, "%s [%s] %s", "FAIL", "consumer-2", "refused after 1 ms"),
        record(KAFKA_CLIENT, "%s [%s] %s", "SESSTMOUT", "consumer-1", "timed out"),
        record("headrace.x", "%s waits", "a"),
        record("headrace.x", "%s waits", "b"),
        record("headrace.x", "%s ended", "a"),
    ]
    assert [now_and_then.filter(line) for line in lines] == [True, False, True, True, False, True]


def test_lines_go_to_the_console_whole(root: logging.Logger) -> None:
    out = io.StringIO()
    show_logs(Console(file=out, width=30), logging.WARNING)
    logging.getLogger("headrace.x").warning("a [long] line %s", "that is not broken")
    logging.getLogger("headrace.x").info("not asked for")
    assert out.getvalue().endswith("WARNING headrace.x a [long] line that is not broken\n")
    assert out.getvalue().count("\n") == 1
