"""Telemetry on a transport in memory."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headrace.connectors.sdk import SdkConfig, Telemetry
from tests.connectors.sdk.memory import Broker, MemoryTransport


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def start(broker: Broker, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Telemetry]]:
    caplog.set_level(logging.CRITICAL, logger="headrace.connectors.sdk")
    started: list[Telemetry] = []

    def make(**settings: Any) -> Telemetry:
        config = SdkConfig(
            bootstrap="memory",
            registry_url="memory",
            **{"seal_ms": 5, "broker_patience_ms": 50, "close_timeout_s": 0.05} | settings,
        )
        started.append(Telemetry(config, lambda: MemoryTransport(broker)))
        return started[-1]

    yield make
    for telemetry in started:
        telemetry.close()
