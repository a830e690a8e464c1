"""Log files of parts: one old one kept, size-bounded, tail readable."""

from __future__ import annotations

import os
from pathlib import Path

MAX_BYTES = 32 * 1024 * 1024
_TAIL_BYTES = 16 * 1024


def rotate(log: Path) -> None:
    """Move a log to `<log>.1` before a new life of its part."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(_old(log))


def bound(log: Path) -> None:
    """Move the content of a log that grew too large to `<log>.1`.

    Its writer keeps the file open for appending, so the file is copied and cut, not renamed; a
    line written in between may be lost.
    """
    try:
        if log.stat().st_size <= MAX_BYTES:
            return
    except FileNotFoundError:
        return
    _old(log).write_bytes(log.read_bytes())
    os.truncate(log, 0)


def tail(log: Path, lines: int = 10) -> tuple[str, ...]:
    """Return the last non-empty lines of a log; none if there is no log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ()
    return tuple([line for line in text.splitlines() if line.strip()][-lines:])


def _old(log: Path) -> Path:
    return log.with_name(log.name + ".1")
