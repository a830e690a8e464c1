"""OpenTelemetry's own exporter, unmodified, sends to the receiver."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from headrace.schemas import read_span_batch

if TYPE_CHECKING:
    from tests.connectors.otlp.conftest import Receiver

RESOURCE = Resource({"headrace.rollout_id": "r1", "headrace.attempt": "a1"})


def run_agent(exporter: SpanExporter) -> list[str]:
    """Make a few spans; returns their ids."""
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span(
        "invoke_agent", attributes={"gen_ai.agent.name": "bot"}
    ) as one:
        told = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
        with tracer.start_as_current_span("execute_tool search", attributes=told) as two:
            pass
    provider.shutdown()
    return sorted(f"{span.get_span_context().span_id:016x}" for span in (one, two))


@pytest.mark.parametrize("compression", list(Compression))
def test_an_agents_spans_arrive_in_their_attempt(
    receive: "Callable[..., Receiver]", compression: Compression
) -> None:
    receiver = receive()
    exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces", compression=compression)

    ids = run_agent(exporter)

    assert receiver.ids() == ids
    found = [read_span_batch(batch) for batch in receiver.broker.batches()]
    places = {(e["project"], e["rollout_id"], e["attempt"]) for one in found for e in one.episodes}
    assert places == {("default", "r1", "a1")}
    assert receiver.intake.counters["spans"] == 2


def test_the_environment_alone_says_where_and_with_which_key(
    receive: "Callable[..., Receiver]", monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = receive(keys=("secret",))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret")

    ids = run_agent(OTLPSpanExporter())

    assert receiver.ids() == ids


def test_a_wrong_key_sends_nothing(receive: "Callable[..., Receiver]") -> None:
    receiver = receive(keys=("secret",))
    exporter = OTLPSpanExporter(
        f"{receiver.url}/v1/traces", headers={"authorization": "Bearer other"}
    )

    provider = TracerProvider()
    span = provider.get_tracer("t").start_span("s")
    span.end()

    assert exporter.export([span]) is SpanExportResult.FAILURE  # type: ignore[list-item]  # an ended SDK span is readable
    assert receiver.ids() == []
