"""A span as OpenTelemetry has it: from the SDK in this process, or by OTLP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True, slots=True, frozen=True)
class SourceEvent:
    """An event of a span, as an exception."""

    name: str
    at: int
    """Nanoseconds since the epoch."""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True, frozen=True)
class SourceSpan:
    """One span of OpenTelemetry. Its attributes hold whatever JSON can, or bytes."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    parent_id: str = ""
    """Empty: a root."""
    name: str
    started_at: int
    """Nanoseconds since the epoch."""
    ended_at: int
    status: str = "unset"
    """`unset`, `ok` or `error`."""
    status_message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[SourceEvent, ...] = ()
    resource: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""
    """Name of the instrumentation that made it."""
