"""Spans of OpenTelemetry as records of a journal: one when a span starts, one when it ends."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import StatusCode

from headrace.connectors.instrument.journal import Journal
from headrace.connectors.instrument.open_spans import closed, opened

_STATUS = {StatusCode.UNSET: "unset", StatusCode.OK: "ok", StatusCode.ERROR: "error"}


class JournalProcessor(SpanProcessor):
    """Writes through, so there is nothing to flush.

    The record of the start lets whoever reads the journal end a span whose process did not. A
    forked child ends spans of its parent in its own copies: those are the parent's to tell.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: dict[int, BaseException | None] = {}
        self._inherited: set[int] = set()
        os.register_at_fork(after_in_child=self._forked)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._open[span.context.span_id] = sys.exception()
            opened(span, span.context.span_id)
            self._journal.write({"k": "start", **_facts(span)})

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        span_id = span.context.span_id
        closed(span_id)
        if span_id in self._inherited:
            self._inherited.discard(span_id)
            return
        before = self._open.pop(span_id, None)
        record = {"k": "end", **_facts(span), **_outcome(span)}
        if record["status"] == "unset" and (cut := _cut_off_by(sys.exception(), before)):
            record |= {"status": "error", "message": cut}
        self._journal.write(record)

    def _forked(self) -> None:
        self._inherited |= self._open.keys()
        self._open = {}


def _cut_off_by(now: BaseException | None, before: BaseException | None) -> str:
    """What cuts a span off that OpenTelemetry does not tell of: Ctrl-C, a cancelled task or
    time-out, an exit with an error. `before` was on its way when the span started."""
    if now is None or now is before or isinstance(now, (Exception, GeneratorExit)):
        return ""
    if isinstance(now, SystemExit) and not now.code:
        return ""
    return f"{type(now).__name__}: {now}".rstrip(": ")


def _facts(span: ReadableSpan) -> dict[str, Any]:
    context, parent = span.context, span.parent
    assert context is not None
    return {
        "trace": f"{context.trace_id:032x}",
        "id": f"{context.span_id:016x}",
        "parent": "" if parent is None else f"{parent.span_id:016x}",
        "name": span.name,
        "from": span.start_time or 0,
        "attributes": _plain(span.attributes),
        "scope": "" if span.instrumentation_scope is None else span.instrumentation_scope.name,
    }


def _outcome(span: ReadableSpan) -> dict[str, Any]:
    return {
        "to": span.end_time or span.start_time or 0,
        "status": _STATUS[span.status.status_code],
        "message": span.status.description or "",
        "events": [
            {"name": event.name, "at": event.timestamp, "attributes": _plain(event.attributes)}
            for event in span.events
        ],
        "resource": _plain(span.resource.attributes),
    }


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(attributes or {})
