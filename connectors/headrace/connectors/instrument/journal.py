"""Where the agent's processes write their spans: a file a process, a line a record. Stdlib only.

A record is written by one `write` to a file opened for appending: it is the kernel's when that
returns, so it outlives the process however that ends (SIGKILL and `os._exit` included). The file
is locked as long as its process lives; whoever reads it knows by that when it is whole. A forked
child starts a file of its own.
"""

import os
import sys
import threading
import time
from typing import Any

from headrace.connectors.instrument import names
from headrace.connectors.instrument.keeping import keeper

_LONGEST = 8_000_000  # bytes of a line; a batch could not hold more


class Journal:
    """Appends records. Never raises, safe to share between threads and to use after a fork."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.parent = _parent_of(os.environ.get(names.TRACEPARENT, ""))
        """Id of the span that this process was started in."""
        self._keep = keeper(_described)
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._lost = 0
        self._is_closed = False
        os.register_at_fork(after_in_child=self._forked)

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; one that cannot be written is counted, and the count kept."""
        try:
            kept = record if self._keep is None else self._keep(record)
            if kept is None:
                return
            line = _line(kept)
            with self._lock:
                if self._is_closed:
                    return
                if self._descriptor is None:
                    self._descriptor = self._open()
                self._append(line)
        except Exception as error:  # the agent never fails because of telemetry
            self._lose(error)

    def _append(self, line: bytes) -> None:
        assert self._descriptor is not None
        written = os.write(self._descriptor, line)
        if written < len(line):  # the disk is full: end the torn line
            os.write(self._descriptor, b"\n")
            raise OSError(f"{written} of {len(line)} bytes written")

    def _open(self) -> int:
        from fcntl import LOCK_EX, LOCK_NB, flock

        name = f"{time.time_ns():020d}-{os.getpid()}"
        hidden = os.path.join(self.folder, f".{name}")  # noqa: PTH118 - pathlib takes 10 ms
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(hidden, flags, 0o600)
        flock(descriptor, LOCK_EX | LOCK_NB)
        os.write(descriptor, _line({"k": "process", "pid": os.getpid(), "parent": self.parent}))
        # Nobody sees it before it is locked.
        os.rename(hidden, os.path.join(self.folder, name + names.ENDING))  # noqa: PTH104, PTH118
        return descriptor

    def _lose(self, error: Exception) -> None:
        self._lost += 1
        if isinstance(error, FileNotFoundError):  # the attempt is over, and its folder gone
            self._is_closed = True
        if self._lost == 1:
            sys.stderr.write(f"headrace: a span is lost, it cannot be written ({error!r})\n")

    def _forked(self) -> None:
        """In a forked child: the file is the parent's, and a thread of it may hold the lock."""
        self._lock = threading.Lock()
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self._lost = 0


def _line(record: dict[str, Any]) -> bytes:
    import json

    text = json.dumps(record, separators=(",", ":"), default=_described)
    if len(text) > _LONGEST:
        raise ValueError(f"a record of {len(text)} characters is longer than {_LONGEST}")
    return text.encode() + b"\n"


def _described(value: Any) -> Any:
    """What JSON cannot hold: read-only mappings as objects, anything else as its text."""
    try:
        return dict(value)
    except (TypeError, ValueError):
        pass
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return list(value) if isinstance(value, (set, frozenset)) else str(value)


def _parent_of(traceparent: str) -> str:
    """The span id of a W3C `traceparent`; empty if it is none."""
    parts = traceparent.split("-")
    if len(parts) < 4 or len(parts[2]) != 16 or parts[2].strip("0123456789abcdef"):
        return ""
    return parts[2] if parts[2] != "0" * 16 else ""


_here: Journal | None = None


def keep_here(journal: Journal) -> Journal:
    """Make a journal that of this process; returns it."""
    global _here
    _here = journal
    return journal


def journal_here() -> Journal | None:
    """This process's journal; None outside of `headrace run` and `headrace work --command`."""
    return _here
