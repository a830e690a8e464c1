"""Offsets: a partition that is moving is asked for again; a broker that is away is told at once."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from headrace.connectors.kafka import KafkaConfig, KafkaUnavailable, Offsets, offsets

WHERE = ("t", 0)


class Brokers:
    """Every client that is made of them: each answers one question, the last for ever."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.clients = 0

    def client(self, _: KafkaConfig) -> "Brokers":
        self.clients += 1
        return self

    def list_offsets(self, asked: dict[Any, Any], **_: Any) -> dict[Any, Any]:
        return {where: self._next(SimpleNamespace(offset=7)) for where in asked}

    def list_consumer_group_offsets(self, asked: list[Any], **_: Any) -> dict[str, Any]:
        found = SimpleNamespace(topic_partitions=[TopicPartition(*WHERE, 5)])
        return {asked[0].group_id: self._next(found)}

    def _next(self, value: Any) -> "Future[Any]":
        answer: Future[Any] = Future()
        if self.codes:
            answer.set_exception(KafkaException(KafkaError(self.codes.pop(0))))
        else:
            answer.set_result(value)
        return answer


def asked_of(monkeypatch: pytest.MonkeyPatch, *codes: int) -> tuple[Offsets, Brokers]:
    brokers = Brokers(*codes)
    monkeypatch.setattr(offsets, "make_admin", brokers.client)
    monkeypatch.setattr(offsets, "why", lambda _, error, __: error.args[0].str())
    monkeypatch.setattr(offsets, "MOVING_PAUSE_S", 0.0)
    return Offsets(KafkaConfig(bootstrap="127.0.0.1:1")), brokers


def test_a_partition_that_was_just_made_has_no_leader_yet_and_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, brokers = asked_of(
        monkeypatch, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.FENCED_LEADER_EPOCH
    )
    assert reading.ends([WHERE]) == {WHERE: 7}
    assert brokers.clients == 3  # a client keeps the epoch that it was told first


def test_a_group_whose_coordinator_moves_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, _ = asked_of(monkeypatch, KafkaError.NOT_COORDINATOR)
    assert reading.committed("g", [WHERE]) == {WHERE: 5}


def test_it_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, brokers = asked_of(monkeypatch, *[KafkaError.NOT_LEADER_FOR_PARTITION] * 3)
    monkeypatch.setattr(offsets, "REQUEST_S", 0.0)
    with pytest.raises(KafkaUnavailable, match="did not tell its offsets"):
        reading.ends([WHERE])
    assert brokers.clients == 1


def test_a_broker_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, brokers = asked_of(monkeypatch, KafkaError._TIMED_OUT)
    with pytest.raises(KafkaUnavailable):
        reading.ends([WHERE])
    assert brokers.clients == 1
