"""Whoever follows cancellations goes on, whatever happens: no task begins without it."""

import logging

import pytest

from headrace.connectors.kafka import KafkaConfig, LogRecord
from headrace.connectors.runner.cancellations import Cancellations
from headrace.connectors.runner.following import Follower
from headrace.schemas import Task
from tests.support.waiting import wait_until


def undecoded(_: LogRecord) -> Task:
    raise NotImplementedError


def test_a_fault_of_its_own_is_told_and_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def broken(*_: object) -> int:
        asked.append(1)
        raise RuntimeError("a bug")

    monkeypatch.setattr("headrace.connectors.runner.following.partitions_of", broken)
    monkeypatch.setattr("headrace.connectors.runner.following._AGAIN_S", 0.01)
    core = Cancellations()
    with caplog.at_level(logging.ERROR):
        follower = Follower(KafkaConfig(bootstrap="127.0.0.1:1"), "g", undecoded, core)
        follower.start()
        wait_until(lambda: len(asked) > 2, "it to go on")
        follower.close()
    assert not core.known.is_set()
    assert "a bug" in caplog.text
