"""An export request in OTLP's JSON as source spans. Pure.

Ids are hexadecimal, 64-bit integers may be strings, enumerations are numbers, and unknown keys are
passed over (OTLP specification, "JSON Protobuf Encoding").
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from headrace.connectors.mapping import SourceEvent, SourceSpan
from headrace.connectors.otlp.decode import STATUSES
from headrace.connectors.otlp.errors import BadRequest

_DEPTH = 100


def read_json(body: bytes) -> Iterator[SourceSpan]:
    """The spans of a JSON body, all of them read. Raises BadRequest, which names the place."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    try:
        return iter(list(_spans(_object(request, "the body"))))
    except (TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise BadRequest(f"the body is no ExportTraceServiceRequest: {error}") from error


def _spans(request: Mapping[str, Any]) -> Iterator[SourceSpan]:
    for told in _list(request, "resourceSpans"):
        resource = _attributes(_object(told.get("resource"), "resource"))
        for scoped in _list(told, "scopeSpans"):
            scope = _text(_object(scoped.get("scope"), "scope"), "name")
            for span in _list(scoped, "spans"):
                yield _span(span, resource, scope)


def _span(span: Mapping[str, Any], resource: dict[str, Any], scope: str) -> SourceSpan:
    status = _object(span.get("status"), "status")
    code = _int(status, "code")
    return SourceSpan(
        trace_id=_text(span, "traceId"),
        span_id=_text(span, "spanId"),
        parent_id=_text(span, "parentSpanId"),
        name=_text(span, "name"),
        started_at=_int(span, "startTimeUnixNano"),
        ended_at=_int(span, "endTimeUnixNano"),
        status=STATUSES[code] if 0 <= code < len(STATUSES) else STATUSES[0],
        status_message=_text(status, "message"),
        attributes=_attributes(span),
        events=tuple(
            SourceEvent(
                name=_text(event, "name"),
                at=_int(event, "timeUnixNano"),
                attributes=_attributes(event),
            )
            for event in _list(span, "events")
        ),
        resource=resource,
        scope=scope,
    )


def _attributes(
    holder: Mapping[str, Any], depth: int = 0, name: str = "attributes"
) -> dict[str, Any]:
    return {
        _text(pair, "key"): _value(_object(pair.get("value"), "value"), depth)
        for pair in _list(holder, name)
    }


def _value(value: Mapping[str, Any], depth: int) -> Any:
    if depth > _DEPTH:
        raise ValueError(f"a value lies more than {_DEPTH} deep")
    for kind, one in value.items():
        if kind in ("stringValue", "boolValue"):
            return one
        if kind == "intValue":
            return int(one)
        if kind == "doubleValue":
            return float(one)
        if kind == "bytesValue":
            return base64.b64decode(one)
        if kind == "arrayValue":
            held = _list(_object(one, kind), "values")
            return [_value(each, depth + 1) for each in held]
        if kind == "kvlistValue":
            return _attributes(_object(one, kind), depth + 1, "values")
    return None


def _list(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = holder.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise TypeError(f"{name} must be a list of objects")
    return value


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be an object")
    return value


def _text(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string")
    return value


def _int(holder: Mapping[str, Any], name: str) -> int:
    value = holder.get(name)
    return 0 if value is None else int(value)
