"""A runner's broker: its going and its coming are told once each."""

import logging

import pytest
from confluent_kafka import KafkaError

from headrace.connectors.kafka import KafkaConfig
from headrace.connectors.runner.broker import ASK_EVERY_S, BrokerWatch

HERE = KafkaConfig(bootstrap="here:9092")
ALL_DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN)


def no_answer() -> None:
    raise OSError("still away")


def test_going_and_coming_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    watch = BrokerWatch(HERE, clock=lambda: now)
    watch.heard(KafkaError(KafkaError._TRANSPORT))  # of one broker
    assert not watch.away
    for _ in range(3):
        watch.heard(ALL_DOWN)
    assert watch.away
    now += ASK_EVERY_S
    watch.ask(no_answer)
    assert watch.away
    now += ASK_EVERY_S
    watch.ask(lambda: None)
    assert not watch.away
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == [
        "Kafka at here:9092 does not answer: no broker answers; check that the broker runs "
        "(`headrace status` tells of the embedded one)",
        "Kafka at here:9092 answers",
    ]


def test_it_asks_once_a_second_and_only_while_no_broker_answers() -> None:
    now = 0.0
    asked: list[float] = []
    watch = BrokerWatch(HERE, clock=lambda: now)

    def answers() -> None:
        asked.append(now)
        no_answer()

    watch.ask(answers)
    watch.heard(ALL_DOWN)
    for tenth in range(25):
        now = tenth / 10
        watch.ask(answers)
    assert asked == [1.0, 2.0]
