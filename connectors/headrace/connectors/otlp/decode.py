"""An export request's bytes as source spans: protobuf and JSON. Pure.

Both are opentelemetry-proto's ExportTraceServiceRequest. Its JSON is not protobuf's usual one: ids
are hexadecimal (OTLP specification, "JSON Protobuf Encoding").
"""

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headrace.connectors.mapping import SourceEvent, SourceSpan
from headrace.connectors.otlp.errors import BadRequest

STATUSES = ("unset", "ok", "error")
"""By their numbers."""


def read_protobuf(body: bytes) -> Iterator[SourceSpan]:
    """The spans of a protobuf body. Raises BadRequest, at once, for one that is none."""
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise BadRequest(f"the body is no ExportTraceServiceRequest: {error}") from error
    return _spans(request)


def _spans(request: ExportTraceServiceRequest) -> Iterator[SourceSpan]:
    for told in request.resource_spans:
        resource = _attributes(told.resource.attributes)
        for scoped in told.scope_spans:
            scope = scoped.scope.name
            for span in scoped.spans:
                yield _span(span, resource, scope)


def _span(span: Any, resource: dict[str, Any], scope: str) -> SourceSpan:
    attributes = _attributes(span.attributes)
    if span.dropped_attributes_count:
        attributes["otel.dropped_attributes_count"] = span.dropped_attributes_count
    status = span.status
    return SourceSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        started_at=span.start_time_unix_nano,
        ended_at=span.end_time_unix_nano,
        status=STATUSES[status.code] if 0 <= status.code < 3 else "unset",
        status_message=status.message,
        attributes=attributes,
        events=tuple(_event(event) for event in span.events) if span.events else (),
        resource=resource,
        scope=scope,
    )


def _event(event: Any) -> SourceEvent:
    return SourceEvent(
        name=event.name, at=event.time_unix_nano, attributes=_attributes(event.attributes)
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    read = _READ.get(kind)
    return getattr(value, kind) if read is None else read(value)


# The other kinds are plain values. protobuf itself bounds how deep they lie in each other.
_READ: dict[str, Callable[[Any], Any]] = {
    "array_value": lambda value: [_value(one) for one in value.array_value.values],
    "kvlist_value": lambda value: _attributes(value.kvlist_value.values),
}
