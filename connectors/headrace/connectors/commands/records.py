"""What the lines of one process's journal say. Pure.

Line by line JSON: `process` (who writes), `start` and `end` of a span of OpenTelemetry, `reward`
(that the agent's code gave), `raised` (the exception that ends the process), `note` (something to
tell the user).
"""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.mapping import SourceEvent, SourceSpan

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True, frozen=True)
class GivenReward:
    """A reward that the agent's own code gave."""

    span_id: str
    parent_id: str
    name: str
    value: float
    target: str
    at: int
    """Nanoseconds since the epoch."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Note:
    """A framework whose spans are not there, and why."""

    framework: str
    package: str
    """What to install; empty: see `trouble`."""
    trouble: str


@dataclass(kw_only=True, slots=True, frozen=True)
class Raised:
    """The exception that ended a process."""

    pid: int
    span_id: str
    parent_id: str
    name: str
    message: str
    trace: str
    at: int
    """Nanoseconds since the epoch."""


Record = SourceSpan | GivenReward | Raised | Note


@dataclass(slots=True)
class ProcessRecords:
    """Reads one process's journal, in pieces as they come. Not thread-safe."""

    pid: int = 0
    _parent: str = ""
    _rest: bytes = b""
    _open: dict[str, dict[str, Any]] = field(default_factory=dict)

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that are whole with these bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                record = self._read(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                logger.warning("a line of a journal cannot be read (%r): left out", error)
                continue
            if record is not None:
                yield record

    def end(self, at: int, how: str) -> Iterator[Record]:
        """The process has ended, at `at` ns: its open spans, as errors that say how."""
        if self._rest:
            logger.warning("the last line of a journal is cut off: left out")
            self._rest = b""
        for started in self._open.values():
            parent = started["parent"] or self._parent
            ended = {"to": at, "status": "error", "message": how, "parent": parent}
            yield _source({**started, **ended})
        self._open.clear()

    def _read(self, line: dict[str, Any]) -> Record | None:
        kind = line["k"]
        if kind == "process":
            self.pid, self._parent = int(line["pid"]), str(line["parent"])
            return None
        if kind == "start":
            self._open[line["id"]] = line
            return None
        if kind == "note":
            return Note(
                framework=line["framework"], package=line["package"], trouble=line["trouble"]
            )
        parent = line.get("parent") or self._parent
        if kind == "reward":
            return GivenReward(
                span_id=line["id"],
                parent_id=parent,
                name=str(line["name"]),
                value=float(line["value"]),
                target=str(line["target"]),
                at=int(line["at"]),
            )
        if kind == "raised":
            return Raised(
                pid=self.pid,
                span_id=line["id"],
                parent_id=self._parent,
                name=str(line["name"]),
                message=str(line["message"]),
                trace=str(line["trace"]),
                at=int(line["at"]),
            )
        self._open.pop(line["id"], None)
        return _source({**line, "parent": parent})


def _source(line: dict[str, Any]) -> SourceSpan:
    return SourceSpan(
        trace_id=line["trace"],
        span_id=line["id"],
        parent_id=line["parent"],
        name=str(line["name"]),
        started_at=int(line["from"]),
        ended_at=int(line["to"]),
        status=line["status"],
        status_message=str(line["message"]),
        attributes=line["attributes"],
        events=tuple(
            SourceEvent(name=str(e["name"]), at=int(e["at"]), attributes=e["attributes"])
            for e in line.get("events", ())
        ),
        resource=line.get("resource", {}),
        scope=str(line["scope"]),
    )


def survey(journals: Iterable[bytes]) -> tuple[int, frozenset[Note]]:
    """How many spans journals hold, and what there is to tell the user."""
    spans, notes = 0, set()
    for journal in journals:
        records = ProcessRecords()
        for record in (*records.feed(journal), *records.end(0, "")):
            if isinstance(record, Note):
                notes.add(record)
            else:
                spans += 1
    return spans, frozenset(notes)
