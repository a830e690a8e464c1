"""Ctrl-C in the midst of a client's call is a KeyboardInterrupt, whenever it comes."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from confluent_kafka import TopicPartition

from headrace.connectors.kafka import KafkaConfig, KafkaUnavailable, Outgoing, Writer
from headrace.connectors.kafka.client_log import client_logger
from headrace.connectors.kafka.clients import make_consumer
from headrace.connectors.kafka.interrupts import held_back
from headrace.connectors.kafka.reader import Reader

NOWHERE = KafkaConfig(bootstrap="127.0.0.1:1", delivery_timeout_ms=100)
TRIES = 25
"""Without the guard a quarter of the writer's were SystemErrors."""


@pytest.fixture(autouse=True)
def alarm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A timer's signal stands for the Ctrl-C of a person."""
    monkeypatch.setattr("headrace.connectors.kafka.interrupts._SIGNALS", (signal.SIGALRM,))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    level = client_logger.level
    client_logger.setLevel(logging.CRITICAL)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    client_logger.setLevel(level)


def interrupted(call: Callable[[], object]) -> None:
    """Make a call until it is interrupted, at one moment after the other."""
    for delay in np.linspace(0.01, 0.2, TRIES):
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it comes anywhere in the block
            signal.setitimer(signal.ITIMER_REAL, float(delay))
            while True:
                call()


def test_of_a_writer() -> None:
    writer = Writer(NOWHERE)

    def send() -> None:
        with pytest.raises(KafkaUnavailable):
            writer.send([Outgoing(topic="t", value=b"x")])

    interrupted(send)
    signal.setitimer(signal.ITIMER_REAL, 0)
    writer.close(1)


def test_of_a_reader() -> None:
    class Any(Reader):
        def read(self) -> object:
            return self._read(0.1, 500)

    consumer = make_consumer(NOWHERE, group="g")
    consumer.assign([TopicPartition("t", 0, 0)])
    reader = Any(consumer, NOWHERE)
    interrupted(reader.read)
    reader.close()


def test_a_handler_of_another_s_is_left_alone() -> None:
    came = threading.Event()
    signal.signal(signal.SIGALRM, lambda *_: came.set())
    with held_back():
        signal.raise_signal(signal.SIGALRM)
        assert came.wait(5)


def test_it_is_raised_behind_the_block() -> None:
    done: list[str] = []

    def interrupt_and_go_on() -> None:
        signal.raise_signal(signal.SIGALRM)
        done.append("the rest of it")

    with pytest.raises(KeyboardInterrupt), held_back():
        interrupt_and_go_on()
    assert done
    assert signal.getsignal(signal.SIGALRM) is signal.default_int_handler


def test_it_is_raised_though_the_block_fails_too() -> None:
    def interrupt_and_fail() -> None:
        signal.raise_signal(signal.SIGALRM)
        raise ValueError("of the block")

    with pytest.raises(KeyboardInterrupt) as raised, held_back():
        interrupt_and_fail()
    assert isinstance(raised.value.__context__, ValueError)
    assert signal.getsignal(signal.SIGALRM) is signal.default_int_handler


def test_without_one_an_error_of_the_block_is_as_it_was() -> None:
    with pytest.raises(ValueError, match="of the block"), held_back():
        raise ValueError("of the block")
