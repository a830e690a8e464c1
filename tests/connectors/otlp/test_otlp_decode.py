"""Both encodings of a request are read alike, and any bytes are either read or refused."""

import json
from contextlib import suppress
from typing import Any

from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headrace.connectors.otlp.bodies import inflated
from headrace.connectors.otlp.decode import read_protobuf
from headrace.connectors.otlp.decode_json import read_json
from headrace.connectors.otlp.errors import OtlpError
from headrace.connectors.otlp.intake import mapped

IDS = ("traceId", "spanId", "parentSpanId")


def otlp_json(message: ExportTraceServiceRequest) -> bytes:
    """A message in OTLP's JSON: protobuf's, but for the ids and the enumerations."""

    def hexed(value: Any) -> Any:
        if isinstance(value, list):
            return [hexed(one) for one in value]
        if isinstance(value, dict):
            return {key: _hex(one) if key in IDS else hexed(one) for key, one in value.items()}
        return value

    return json.dumps(hexed(MessageToDict(message, use_integers_for_enums=True))).encode()


def _hex(text: str) -> str:
    import base64

    return base64.b64decode(text).hex().upper()


def full() -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    told = made.resource_spans.add()
    told.resource.attributes.add(key="headrace.rollout_id").value.string_value = "r1"
    scoped = told.scope_spans.add()
    scoped.scope.name = "lib"
    span = scoped.spans.add(
        trace_id=bytes(range(1, 17)),
        span_id=bytes(range(1, 9)),
        parent_span_id=bytes(range(2, 10)),
        name="work",
        start_time_unix_nano=1_764_246_000_000_000_001,
        end_time_unix_nano=1_764_246_000_000_000_002,
    )
    span.status.code, span.status.message = 2, "it broke"
    values = [("s", "string_value", "ü"), ("b", "bool_value", True), ("i", "int_value", -(2**62))]
    for key, kind, value in [*values, ("d", "double_value", 0.5), ("y", "bytes_value", b"\xff")]:
        setattr(span.attributes.add(key=key).value, kind, value)
    listed = span.attributes.add(key="l").value.array_value
    listed.values.add().int_value = 1
    listed.values.add().kvlist_value.values.add(key="k").value.string_value = "v"
    span.attributes.add(key="nothing")
    span.events.add(name="exception", time_unix_nano=3).attributes.add(
        key="exception.type"
    ).value.string_value = "E"
    return made


def test_a_message_says_the_same_in_both_encodings() -> None:
    message = full()

    (one,) = read_protobuf(message.SerializeToString())
    (other,) = read_json(otlp_json(message))

    assert one.attributes == other.attributes
    assert one.attributes["l"] == [1, {"k": "v"}]
    assert (one.status, one.status_message, one.scope) == ("error", "it broke", "lib")
    assert one.started_at == 1_764_246_000_000_000_001
    assert other.span_id.lower() == one.span_id == "0102030405060708"
    assert mapped(iter([one]), "default") == mapped(iter([other]), "default")


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    *("resourceSpans", "resource", "scopeSpans", "spans", "attributes", "key"),
                    *("value", "stringValue", "intValue", "doubleValue", "bytesValue"),
                    *("arrayValue", "kvlistValue", "values", "events", "status", "code", *IDS),
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON_VALUES)
def test_any_json_is_read_or_refused(value: Any) -> None:
    with suppress(OtlpError):
        mapped(read_json(json.dumps(value).encode()), "default")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 400), st.integers(0, 255), st.binary(max_size=4))
def test_a_damaged_message_is_read_or_refused(at: int, byte: int, more: bytes) -> None:
    body = bytearray(full().SerializeToString())
    body[at % len(body)] = byte
    with suppress(OtlpError):
        mapped(read_protobuf(bytes(body) + more), "default")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.sampled_from(["gzip", "deflate", "identity", "br"]))
def test_any_bytes_are_inflated_within_the_bound_or_refused(body: bytes, coding: str) -> None:
    with suppress(OtlpError):
        assert len(inflated(body, coding, 30)) <= 30
