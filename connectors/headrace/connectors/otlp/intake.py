"""Export requests taken: mapped, handed to the SDK, and answered once they are durable."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from headrace.connectors.mapping import Refusal, SourceSpan, map_span, named_in
from headrace.connectors.otlp.answers import JSON
from headrace.connectors.otlp.bodies import inflated
from headrace.connectors.otlp.config import OtlpSettings
from headrace.connectors.otlp.decode import read_protobuf
from headrace.connectors.otlp.decode_json import read_json
from headrace.connectors.otlp.errors import Busy, Unavailable
from headrace.connectors.sdk import MemoryFull, NotDurable
from headrace.connectors.sdk.emitter import Durability
from headrace.schemas import Span


class Outlet(Protocol):
    """Where spans go: Telemetry, as far as it is used here."""

    async def aemit_all_durably(self, spans: Sequence[Span], within: float) -> Durability:
        """Take spans and return when they are durable; raises NotDurable."""


class Intake:
    """Takes export requests, a bounded number at a time."""

    def __init__(self, settings: OtlpSettings, outlet: Outlet) -> None:
        self.counters: Counter[str] = Counter()
        """What was taken and what was refused, since the start."""
        self._settings = settings
        self._outlet = outlet
        self._in_flight = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Room for one request, from before its body is read. Raises Busy if there is none."""
        if self._in_flight >= self._settings.max_in_flight:
            self.counters["busy"] += 1
            raise Busy(f"{self._in_flight} requests are in work: try again")
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def take(self, body: bytes, coding: str, content_type: str) -> Mapping[Refusal, int]:
        """Take a request's spans; returns how many were refused, and why, when the rest is durable.

        Raises:
            OtlpError: nothing, or not all, was taken; its class says whether to send it again.
        """
        spans, refused = await asyncio.to_thread(self._read, body, coding, content_type)
        await self._keep(spans)
        self.counters["requests"] += 1
        self.counters["spans"] += len(spans)
        for reason, count in refused.items():
            self.counters[f"refused_{reason.value}"] += count
        return refused

    def _read(
        self, body: bytes, coding: str, content_type: str
    ) -> tuple[list[Span], Counter[Refusal]]:
        read: Callable[[bytes], Iterator[SourceSpan]]
        read = read_json if content_type == JSON else read_protobuf
        return mapped(
            read(inflated(body, coding, self._settings.max_body_bytes)), self._settings.project
        )

    async def _keep(self, spans: Sequence[Span]) -> None:
        try:
            await self._outlet.aemit_all_durably(spans, self._settings.durable_s)
        except MemoryFull as error:
            self.counters["busy"] += 1
            raise Busy(f"{error}: try again") from error
        except NotDurable as error:
            self.counters["not_durable"] += 1
            raise Unavailable(f"the spans are not durable, send them again: {error}") from error


def mapped(sources: Iterator[SourceSpan], project: str) -> tuple[list[Span], Counter[Refusal]]:
    """The spans that source spans say, and how many of these were refused."""
    spans: list[Span] = []
    refused: Counter[Refusal] = Counter()
    resource: Mapping[str, Any] | None = None
    named: Mapping[str, Any] = {}
    for source in sources:
        if source.resource is not resource:  # many spans share one
            resource, named = source.resource, named_in(source.resource)
        made = map_span(source, named=named, project=project)
        spans += made.spans
        if made.refused is not None:
            refused[made.refused] += 1
    return spans, refused
