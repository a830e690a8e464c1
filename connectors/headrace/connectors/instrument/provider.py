"""The tracer provider of an agent's process: ours, or the agent's own with our processor in it."""

import random
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator

from headrace.connectors.instrument.journal import Journal
from headrace.connectors.instrument.processor import JournalProcessor

# The default of 128 attributes loses the first messages of a long conversation.
_MANY = 100_000
_SYSTEM = random.SystemRandom()


class FreshIds(IdGenerator):
    """Ids from the system. OpenTelemetry's own come from `random`: an agent that seeds it would
    repeat them in each of its processes, and an agent's own draws would change."""

    def generate_span_id(self) -> int:
        """Never 0."""
        return _SYSTEM.randrange(1, 2**64)

    def generate_trace_id(self) -> int:
        """Never 0."""
        return _SYSTEM.randrange(1, 2**128)

    def is_trace_id_random(self) -> bool:
        """They are."""
        return True


def set_up(journal: Journal) -> TracerProvider:
    """Make spans of this process come to the journal; returns what instrumentors are given.

    An agent that sets a provider of its own, before or later, keeps it: spans go to both.
    """
    processor = JournalProcessor(journal)
    before = trace.get_tracer_provider()
    if isinstance(before, TracerProvider):
        before.add_span_processor(processor)
        return before
    ours = TracerProvider(
        resource=Resource({"service.name": "headrace"}),
        id_generator=FreshIds(),
        span_limits=SpanLimits(max_span_attributes=_MANY, max_events=_MANY),
        shutdown_on_exit=False,
    )
    ours.add_span_processor(processor)
    trace.set_tracer_provider(ours)
    setattr(trace, "set_tracer_provider", _giving_way(ours, processor))  # noqa: B010 - for mypy
    return ours


def _giving_way(
    ours: TracerProvider, processor: JournalProcessor
) -> Callable[[trace.TracerProvider], None]:
    """`set_tracer_provider` whose first call is the agent's: it wins, as it would without us."""
    original: Any = trace.set_tracer_provider

    def set_tracer_provider(tracer_provider: trace.TracerProvider) -> None:
        """Set the current global tracer provider."""
        if trace.get_tracer_provider() is not ours:
            original(tracer_provider)
            return
        if isinstance(tracer_provider, TracerProvider):
            # Frameworks that are instrumented already have ours: the agent's exporter sees them.
            ours.add_span_processor(_Others(tracer_provider, processor))
            tracer_provider.add_span_processor(processor)
        trace._TRACER_PROVIDER = tracer_provider

    return set_tracer_provider


class _Others(SpanProcessor):
    """The processors of the agent's own provider, whenever it adds them, but for ours."""

    def __init__(self, theirs: TracerProvider, ours: SpanProcessor) -> None:
        self._theirs = theirs
        self._ours = ours

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        for each in self._each():
            each.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        for each in self._each():
            each.on_end(span)

    def _each(self) -> list[SpanProcessor]:
        known = self._theirs._active_span_processor._span_processors
        return [each for each in known if each is not self._ours]
