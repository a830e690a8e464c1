"""A receiver on a port of its own, with a broker in memory behind it."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import uvicorn

from headrace.connectors.otlp import OtlpSettings
from headrace.connectors.otlp.app import create_app
from headrace.connectors.otlp.intake import Intake
from headrace.connectors.sdk import SdkConfig, Telemetry
from headrace.schemas import read_span_batch
from tests.connectors.sdk.memory import Broker, MemoryTransport
from tests.support.waiting import wait_until


@dataclass
class Receiver:
    """What a test needs of it."""

    url: str
    broker: Broker
    intake: Intake
    telemetry: Telemetry

    def post(self, body: bytes, path: str = "/v1/traces", **headers: str) -> httpx2.Response:
        sent = {"content-type": "application/x-protobuf"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.post(f"{self.url}{path}", content=body, headers=sent, timeout=20)

    def ids(self) -> list[str]:
        """The spans that the broker has."""
        found = [read_span_batch(batch) for batch in self.broker.batches()]
        return sorted(one.decode() for batch in found for one in batch.spans["span_id"].tolist())


@pytest.fixture
def receive(broker: Broker, tmp_path: Any) -> Iterator[Callable[..., Receiver]]:
    ends: list[Callable[[], None]] = []

    def make(sdk: dict[str, Any] | None = None, **settings: Any) -> Receiver:
        made = OtlpSettings(**settings)
        config = SdkConfig(
            bootstrap="memory",
            registry_url="memory",
            **{"broker_patience_ms": 50, "close_timeout_s": 0.05} | (sdk or {}),
        )
        telemetry = Telemetry(config, lambda: MemoryTransport(broker))
        intake = Intake(made, telemetry)
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(create_app(made, intake), log_config=None, lifespan="off")
        )
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the receiver", 20)
        if broker.up.is_set():
            wait_until(lambda: telemetry.flush(0.1), "the broker is known", 20)

        def end() -> None:
            server.should_exit = True
            thread.join(20)
            listener.close()
            telemetry.close()

        ends.append(end)
        port = listener.getsockname()[1]
        return Receiver(f"http://127.0.0.1:{port}", broker, intake, telemetry)

    yield make
    for end in ends:
        end()


@pytest.fixture
def broker() -> Broker:
    return Broker()
