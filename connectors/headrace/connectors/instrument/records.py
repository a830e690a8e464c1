"""What the lines of one process's journal say. Pure.

Line by line JSON: `process` (who writes), `start` and `end` of a span of OpenTelemetry, `own` (a
span that the agent's code made by our own lines), `note` (something to tell the user).
"""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.connectors.mapping import SourceEvent, SourceSpan

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True, frozen=True)
class OwnSpan:
    """A span that the agent's code made with `headrace.connectors.sdk`'s lines."""

    span_id: str
    parent_id: str
    kind: str
    name: str
    status: str
    started_at: int
    ended_at: int
    input: Any = None
    output: Any = None
    attributes: Any = None
    value: Any = None
    """A reward's."""
    target: str = ""


@dataclass(kw_only=True, slots=True, frozen=True)
class Note:
    """A framework whose spans are not there, and why."""

    framework: str
    package: str
    """What to install; empty: see `trouble`."""
    trouble: str


Record = SourceSpan | OwnSpan | Note


@dataclass(slots=True)
class ProcessRecords:
    """Reads one process's journal, in pieces as they come. Not thread-safe."""

    pid: int = 0
    bad: int = 0
    """Lines that could not be read."""
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
                self.bad += 1
                logger.warning("a line of a journal cannot be read (%r): left out", error)
                continue
            if record is not None:
                yield record

    def end(self, at: int, how: str) -> Iterator[Record]:
        """The process has ended, at `at` ns: its open spans, as errors that say how."""
        if self._rest:
            self.bad += 1
            self._rest = b""
        for started in self._open.values():
            record = self._any({**started, "to": at, "status": "error", "message": how})
            yield record
        self._open.clear()

    def _read(self, line: dict[str, Any]) -> Record | None:
        kind = line["k"]
        if kind == "process":
            self.pid, self._parent = int(line["pid"]), str(line["parent"])
            return None
        if kind in ("start", "own_start"):
            self._open[line["id"]] = line
            return None
        if kind == "note":
            return Note(
                framework=line["framework"], package=line["package"], trouble=line["trouble"]
            )
        self._open.pop(line["id"], None)
        return self._any(line)

    def _any(self, line: dict[str, Any]) -> Record:
        line = {**line, "parent": line["parent"] or self._parent}
        return _own(line) if line["k"] in ("own", "own_start") else _source(line)


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


def _own(line: dict[str, Any]) -> OwnSpan:
    own = OwnSpan(
        span_id=line["id"],
        parent_id=line["parent"],
        kind=line["kind"],
        name=str(line["name"]),
        status=line.get("status", "ok"),
        started_at=int(line["from"]),
        ended_at=int(line["to"]),
        input=line.get("input"),
        output=line.get("output"),
        attributes=line.get("attributes"),
        value=line.get("value"),
        target=str(line.get("target", "")),
    )
    if line.get("message"):  # its process ended
        return replace(own, output=line["message"])
    return own


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
