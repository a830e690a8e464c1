"""Waiting: in place, told once, ended by a stop, and never for what waiting cannot mend."""

import asyncio
import logging
import threading

import pytest

from headrace.connectors.clickhouse import ClickHouseUnavailable
from headrace.connectors.kafka import KafkaUnavailable, Patience, Stopped
from headrace.schemas import RegistryUnavailable


class Server:
    """Fails with these errors, one a call, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def call(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def away() -> Server:
    return Server(
        KafkaUnavailable("no broker"),
        KafkaUnavailable("no broker"),
        RegistryUnavailable("no registry"),
        ClickHouseUnavailable("no ClickHouse"),
    )


def test_whatever_is_away_is_waited_for_and_told_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    patience = Patience("a part", on_wait=lambda: told.append(patience.waiting), delay_s=0.0)
    with caplog.at_level(logging.WARNING):
        assert patience.until_done(away().call) == "done"
    assert told == ["no broker", "no broker", "no registry", "no ClickHouse"]
    assert patience.waiting == ""
    assert [record.getMessage() for record in caplog.records] == [
        "a part: waits: no broker",
        "a part: waits: no registry",
        "a part: waits: no ClickHouse",
        "a part: goes on",
    ]


def test_an_event_loop_waits_alike() -> None:
    assert asyncio.run(Patience(delay_s=0.0).auntil_done(away().call)) == "done"


def test_what_waiting_cannot_mend_is_raised() -> None:
    patience = Patience(delay_s=0.0)
    with pytest.raises(ZeroDivisionError):
        patience.until_done(Server(KafkaUnavailable("away"), ZeroDivisionError()).call)


def test_a_stop_ends_a_wait() -> None:
    stop = threading.Event()
    patience = Patience(stop=stop, on_wait=stop.set)
    with pytest.raises(Stopped, match="no broker"):
        patience.until_done(away().call)
    with pytest.raises(Stopped, match="no broker"):
        asyncio.run(patience.auntil_done(away().call))
