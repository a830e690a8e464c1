"""The spans that are open in this process, and the agent that a span is of."""

from opentelemetry.sdk.trace import Span

_OPEN: dict[int, Span] = {}


def opened(span: Span, span_id: int) -> None:
    """A span has started."""
    _OPEN[span_id] = span


def closed(span_id: int) -> None:
    """A span has ended."""
    _OPEN.pop(span_id, None)


def agent_at(span_id: int) -> str:
    """The agent of the nearest open span, from this one upwards, that names one; empty: none does.

    The same names as those that the spans have when they are read back.
    """
    # Not before it is needed: what reads names takes long to import.
    from headrace.connectors.mapping import SourceSpan, agent_of

    span = _OPEN.get(span_id)
    while span is not None:
        source = SourceSpan(
            trace_id="",
            span_id=f"{span_id:016x}",
            name=span.name,
            started_at=0,
            ended_at=0,
            attributes=span.attributes or {},
        )
        if agent := agent_of(source):
            return agent
        span = None if span.parent is None else _OPEN.get(span.parent.span_id)
    return ""
