"""What the receiver answers: 200 for what is durable, and a Status for everything else."""

import gzip
import json
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from headrace.connectors.otlp.answers import JSON, PROTOBUF
from tests.connectors.sdk.memory import Broker
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.connectors.otlp.conftest import Receiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def request(*ids: str, trace: str = TRACE, **fields: Any) -> bytes:
    """A body in JSON."""
    spans = [{"traceId": trace, "spanId": one, "name": "work", **fields} for one in ids]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


def protobuf(*ids: str) -> bytes:
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for one in ids:
        scope.spans.add(trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(one), name="work")
    return bytes(made.SerializeToString())


def raw_deflate(body: bytes) -> bytes:
    maker = zlib.compressobj(wbits=-15)
    return maker.compress(body) + maker.flush()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("identity", lambda body: body),
        ("gzip", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_both_encodings_in_every_coding_are_taken(
    receive: "Callable[..., Receiver]",
    as_json: bool,
    coding: str,
    pack: Callable[[bytes], bytes],
) -> None:
    receiver = receive()
    body = request(SPAN) if as_json else protobuf(SPAN)
    kind = JSON if as_json else PROTOBUF

    answer = receiver.post(pack(body), content_encoding=coding, content_type=kind)

    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.content == (b"{}" if as_json else b"")
    assert receiver.ids() == [SPAN]


def test_a_span_without_an_id_is_refused_with_its_reason_and_the_others_are_kept(
    receive: "Callable[..., Receiver]",
) -> None:
    receiver = receive()

    told = receiver.post(request(SPAN, "", "0" * 16), content_type=JSON).json()
    partial = ExportTraceServiceResponse.FromString(receiver.post(protobuf("0" * 16)).content)

    assert told["partialSuccess"]["rejectedSpans"] == "2"
    assert "span id" in told["partialSuccess"]["errorMessage"]
    assert partial.partial_success.rejected_spans == 1
    assert receiver.ids() == [SPAN]
    assert receiver.intake.counters["refused_no_span_id"] == 3


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, b"\xff\xff", {}),
        (400, b"{", {"content_type": JSON}),
        (400, b"[" * 15_000, {"content_type": JSON}),
        (400, request(SPAN, startTimeUnixNano="soon"), {"content_type": JSON}),
        (400, b"no gzip", {"content_encoding": "gzip"}),
        (400, gzip.compress(protobuf(SPAN))[:-9], {"content_encoding": "gzip"}),
        (413, b"x" * 20_001, {}),
        (413, gzip.compress(b"x" * 10_000_000), {"content_encoding": "gzip"}),
        (415, protobuf(SPAN), {"content_type": "text/plain"}),
        (415, protobuf(SPAN), {"content_encoding": "br"}),
        (403, protobuf(SPAN), {"origin": "http://elsewhere.example"}),
    ],
    # Bytes as ids differ between the workers of a run: gzip writes the time.
    ids=[
        "no protobuf",
        "no JSON",
        "deep JSON",
        "a time in words",
        "no gzip",
        "gzip cut off",
        "too long",
        "too long when inflated",
        "another type",
        "another coding",
        "a web page's",
    ],
)
def test_what_cannot_be_taken_is_answered_with_a_status_that_says_why(
    receive: "Callable[..., Receiver]", status: int, body: bytes, headers: dict[str, str]
) -> None:
    receiver = receive(max_body_bytes=20_000)

    answer = receiver.post(body, **headers)

    assert answer.status_code == status
    assert "retry-after" not in answer.headers
    if headers.get("content_type") == JSON:
        assert answer.json()["message"]
    else:
        assert Status.FromString(answer.content).message
    assert receiver.ids() == []


def test_a_body_that_grows_beyond_its_bound_is_not_inflated_further(
    receive: "Callable[..., Receiver]",
) -> None:
    bomb = gzip.compress(b"\0" * 200_000_000)
    answer = receive(max_body_bytes=300_000).post(bomb, content_encoding="gzip")
    assert answer.status_code == 413


def test_metrics_and_logs_are_answered_and_not_kept(receive: "Callable[..., Receiver]") -> None:
    receiver = receive()

    answers = [receiver.post(b"", path=f"/v1/{name}") for name in ("metrics", "logs", "logs")]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert receiver.intake.counters["passed_over_logs"] == 2
    assert receiver.ids() == []


def test_nothing_is_answered_200_before_it_is_durable(receive: "Callable[..., Receiver]") -> None:
    receiver = receive(durable_s=0.2)
    receiver.broker.room = 0

    answer = receiver.post(protobuf(SPAN))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert Status.FromString(answer.content).code == 14
    receiver.broker.room = 1_000
    wait_until(lambda: receiver.ids() == [SPAN], "the span that was taken", 20)


def test_a_broker_that_has_never_answered_is_waited_for_by_the_exporter(
    receive: "Callable[..., Receiver]", broker: Broker
) -> None:
    broker.up.clear()
    receiver = receive(durable_s=0.2)
    first = receiver.post(protobuf(SPAN))
    broker.up.set()

    wait_until(lambda: receiver.post(protobuf(SPAN)).status_code == 200, "the next try", 20)

    assert (first.status_code, first.headers["retry-after"]) == (503, "1")
    assert receiver.ids() == [SPAN]


def test_the_spool_is_durable_while_kafka_is_away(
    receive: "Callable[..., Receiver]", tmp_path: Any
) -> None:
    receiver = receive(sdk={"spool_directory": tmp_path})
    receiver.broker.room = 0

    assert receiver.post(protobuf(SPAN)).status_code == 200

    assert receiver.telemetry.stats().spooled == 1


def test_too_much_that_waits_is_answered_429(receive: "Callable[..., Receiver]") -> None:
    receiver = receive(sdk={"memory_bytes": 1_000}, durable_s=0.2)
    receiver.broker.room = 0

    answer = receiver.post(protobuf(*[f"{n:016x}" for n in range(1, 50)]))

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert receiver.telemetry.stats().emitted == 0, "all or none"


def test_more_requests_than_may_be_in_work_are_answered_429(
    receive: "Callable[..., Receiver]",
) -> None:
    receiver = receive(max_in_flight=1, durable_s=5.0)
    receiver.broker.room = 0
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(receiver.post, protobuf(SPAN))
        wait_until(lambda: receiver.telemetry.stats().emitted == 1, "the first request", 20)

        second = receiver.post(protobuf(SPAN))

        receiver.broker.room = 1_000
        assert first.result().status_code == 200
    assert (second.status_code, second.headers["retry-after"]) == (429, "1")
    assert receiver.post(protobuf(SPAN)).status_code == 200


def test_a_request_of_thousands_of_spans_is_taken_whole(receive: "Callable[..., Receiver]") -> None:
    receiver = receive()
    ids = [f"{n:016x}" for n in range(1, 3_001)]

    assert receiver.post(protobuf(*ids)).status_code == 200

    assert receiver.ids() == ids


def test_a_span_twice_in_a_request_does_no_harm(receive: "Callable[..., Receiver]") -> None:
    receiver = receive()
    assert receiver.post(protobuf(SPAN, SPAN)).status_code == 200
    assert set(receiver.ids()) == {SPAN}
