"""Reads the journals of an attempt's processes, while they run and to their end."""

import fcntl
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headrace.connectors.commands.mapped import record_raised, record_reward, record_source
from headrace.connectors.commands.records import GivenReward, Note, ProcessRecords, Raised, Record
from headrace.connectors.instrument import names
from headrace.connectors.sdk import Attempt

logger = logging.getLogger(__name__)

_PIECE = 1_000_000
ENDED = "the process ended while it was open"


@dataclass(slots=True)
class _File:
    descriptor: int
    records: ProcessRecords = field(default_factory=ProcessRecords)
    is_over: bool = False


class Collector:
    """Emits what the journals of one attempt say. Not thread-safe."""

    def __init__(self, folder: Path, attempt: Attempt, *, redirected: bool) -> None:
        """redirected: whether the gateway sees the model calls of the attempt."""
        self.spans = 0
        """Spans read so far."""
        self.notes: set[Note] = set()
        """What there is to tell the user."""
        self.raised: list[Raised] = []
        """What ended processes, in the order of their ends."""
        self._told: set[tuple[object, object]] = set()
        """Types and messages of exceptions that spans have."""
        self._folder = folder
        self._attempt = attempt
        self._redirected = redirected
        self._files: dict[str, _File] = {}

    def collect(self, exits: Mapping[int, str] | None = None) -> bool:
        """Read on; False: some process of the agent still writes.

        `exits` says of processes how they ended, for their open spans.
        """
        for name in sorted(os.listdir(self._folder)):  # noqa: PTH208 - names are wanted
            if name.endswith(names.ENDING) and not name.startswith("."):
                self._read(name, exits or {})
        return all(file.is_over for file in self._files.values())

    def close(self) -> None:
        """Let the files go."""
        for file in self._files.values():
            if not file.is_over:
                os.close(file.descriptor)
        self._files.clear()

    def _read(self, name: str, exits: Mapping[int, str]) -> None:
        file = self._files.get(name)
        if file is None:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
            file = self._files[name] = _File(descriptor)
        if file.is_over:
            return
        over = _is_free(file.descriptor)  # asked first: what was written before is read
        while piece := os.read(file.descriptor, _PIECE):
            for record in file.records.feed(piece):
                self._take(record)
        if over:
            how = exits.get(file.records.pid)
            for record in file.records.end(time.time_ns(), f"{ENDED}: {how}" if how else ENDED):
                self._take(record)
            os.close(file.descriptor)
            file.is_over = True

    def _take(self, record: Record) -> None:
        if isinstance(record, Note):
            self.notes.add(record)
            return
        self.spans += 1
        if isinstance(record, GivenReward):
            record_reward(self._attempt, record)
        elif isinstance(record, Raised):
            self.raised.append(record)
            if (record.name, record.message) not in self._told:
                record_raised(self._attempt, record)
        else:
            told = [e.attributes for e in record.events if e.name == "exception"]
            self._told.update((e.get("exception.type"), e.get("exception.message")) for e in told)
            record_source(self._attempt, record, redirected=self._redirected)


def _is_free(descriptor: int) -> bool:
    """Whether the process that writes a journal has ended."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
