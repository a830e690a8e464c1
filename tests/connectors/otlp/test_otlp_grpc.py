"""OpenTelemetry's exporter over gRPC, unmodified, sends to the receiver."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

from headrace.connectors.otlp import OtlpSettings
from headrace.connectors.otlp.errors import ConfigurationError
from headrace.connectors.otlp.grpc_server import serving
from headrace.infra.embedded.ports import free_port
from tests.connectors.otlp.test_otlp_exporter import run_agent
from tests.connectors.otlp.test_otlp_requests import SPAN, protobuf

if TYPE_CHECKING:
    from tests.connectors.otlp.conftest import Receiver

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@contextmanager
def grpc_of(receiver: "Receiver", **settings: object) -> Iterator[str]:
    """Serve gRPC beside a receiver; gives `host:port`."""
    made = OtlpSettings(grpc=True, grpc_port=free_port(), **settings)  # type: ignore[arg-type]  # as a test gives them
    started, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving(made, receiver.intake):
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield f"127.0.0.1:{made.grpc_port}"
    finally:
        ended.set()
        thread.join(20)


def send(address: str, body: bytes, *metadata: tuple[str, str], method: str = EXPORT) -> bytes:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(method)
        answer: bytes = call(body, timeout=20, metadata=metadata)
        return answer


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_an_agents_spans_arrive(
    receive: "Callable[..., Receiver]", compression: grpc.Compression
) -> None:
    receiver = receive()
    with grpc_of(receiver) as address:
        ids = run_agent(OTLPSpanExporter(address, insecure=True, compression=compression))
    assert receiver.ids() == ids


def test_a_key_is_asked_for_where_keys_are_set(receive: "Callable[..., Receiver]") -> None:
    receiver = receive()
    with grpc_of(receiver, keys=("secret",)) as address:
        with pytest.raises(grpc.RpcError) as refused:
            send(address, protobuf(SPAN))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        send(address, protobuf(SPAN), ("authorization", "Bearer secret"))
    assert receiver.ids() == [SPAN]


def test_what_is_not_durable_is_to_be_sent_again(receive: "Callable[..., Receiver]") -> None:
    receiver = receive(durable_s=0.2)
    receiver.broker.room = 0
    with grpc_of(receiver) as address, pytest.raises(grpc.RpcError) as refused:
        send(address, protobuf(SPAN))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_what_cannot_be_read_or_is_too_large_is_not(receive: "Callable[..., Receiver]") -> None:
    receiver = receive()
    with grpc_of(receiver, max_body_bytes=1_000) as address:
        with pytest.raises(grpc.RpcError) as bad:
            send(address, b"\xff\xff")
        with pytest.raises(grpc.RpcError) as large:
            send(address, b"x" * 2_000)
    assert bad.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert large.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_metrics_and_logs_are_passed_over(receive: "Callable[..., Receiver]") -> None:
    receiver = receive()
    method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
    with grpc_of(receiver) as address:
        assert send(address, b"", method=method) == b""
    assert receiver.intake.counters["passed_over_logs"] == 1


def test_a_port_that_is_taken_is_named(receive: "Callable[..., Receiver]") -> None:
    receiver = receive()
    taken = int(receiver.url.rpartition(":")[2])

    async def serve() -> None:
        async with serving(OtlpSettings(grpc=True, grpc_port=taken), receiver.intake):
            pass

    with pytest.raises(ConfigurationError, match="grpc_port"):
        asyncio.run(serve())
