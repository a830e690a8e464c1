"""The commit point against a broker that is slow, refuses, or has seen a newer trainer."""

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException

from headrace.connectors.kafka import KafkaConfig, Patience, Registry, Stopped
from headrace.schemas import Codec, Outcome, PolicyVersion
from headrace.trainer import publish
from headrace.trainer.errors import CommitRefused, CommitTimedOut, TrainerFenced
from headrace.trainer.publish import Publisher

SLOW = KafkaException(KafkaError(KafkaError._TIMED_OUT, "slow", retriable=True))
ABORT = KafkaException(KafkaError(KafkaError._TIMED_OUT, "lost", txn_requires_abort=True))
FENCED = KafkaException(KafkaError(KafkaError._FENCED, "fenced", fatal=True))
FORBIDDEN = KafkaException(
    KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "no", fatal=True)
)


class Written:
    """A message that a broker has written."""

    def __init__(self, log_time: int) -> None:
        self._log_time = log_time

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, self._log_time


Delivered = Callable[[None, Written], None]


class Broker:
    """Stands for a transactional producer: what it was told, and what it answers next."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.open: list[tuple[str, bytes, int]] = []
        self.committed: list[tuple[str, bytes, int]] = []
        self.answers: dict[str, list[Exception]] = {}
        self.log_time = 0
        self.reports: list[Delivered] = []

    def _answer(self, name: str) -> None:
        self.calls.append(name)
        if waiting_answers := self.answers.get(name):
            raise waiting_answers.pop(0)

    def init_transactions(self, _: float) -> None:
        self._answer("init")

    def begin_transaction(self) -> None:
        self._answer("begin")

    def produce(
        self, topic: str, *, value: bytes, key: bytes, partition: int, on_delivery: Delivered
    ) -> None:
        assert value
        self._answer("produce")
        self.open.append((topic, key, partition))
        self.reports.append(on_delivery)

    def poll(self, _: float) -> None:
        self._answer("poll")

    def flush(self, within_s: float) -> None:
        assert within_s, "without an end it could wait for ever"
        for report in self.reports:
            self.log_time += 10
            report(None, Written(self.log_time))
        self.reports = []

    def commit_transaction(self, _: float) -> None:
        self._answer("commit")
        self.committed, self.open = self.open, []

    def abort_transaction(self, _: float) -> None:
        self._answer("abort")
        self.open = []


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()

    def producer(_: KafkaConfig, **__: Any) -> Broker:
        return broker

    monkeypatch.setattr(publish, "make_producer", producer)
    return broker


@pytest.fixture
def publisher(broker: Broker) -> Publisher:
    patience = Patience()
    patience.pause = lambda *_: None  # type: ignore[method-assign]  # no waiting in a unit test
    codec = Codec(Registry("mock://publish"))
    config = KafkaConfig(bootstrap="127.0.0.1:1")
    return Publisher(config, codec, patience, policy="p", trainer="t")


def commit(publisher: Publisher) -> None:
    publisher.commit(
        version=PolicyVersion(policy="p", version=3),
        outcomes=[Outcome(rollout_id="r", sample_id="r/a/s/0"), Outcome(rollout_id="q")],
    )


WHOLE = [
    ("headrace.outcomes", b"r/a/s/0", -1),
    ("headrace.outcomes", b"q", -1),
    ("headrace.policies", b"p/version/3", 0),
]
ONCE = ["begin", "produce", "produce", "produce", "commit"]


def test_version_and_outcomes_are_one_transaction(broker: Broker, publisher: Publisher) -> None:
    commit(publisher)
    assert broker.calls == ONCE
    assert broker.committed == WHOLE
    assert publisher.log_time == 30  # of the last of three records


def test_a_call_that_ran_out_of_time_is_repeated_in_the_same_transaction(
    broker: Broker, publisher: Publisher
) -> None:
    broker.answers["commit"] = [SLOW, SLOW]
    commit(publisher)
    assert broker.calls.count("begin") == 1
    assert broker.calls.count("commit") == 3
    assert broker.committed == WHOLE


@pytest.mark.parametrize("call", ["begin", "produce", "commit"])
def test_an_aborted_transaction_is_written_again_whole(
    broker: Broker, publisher: Publisher, call: str
) -> None:
    broker.answers[call] = [ABORT]
    broker.answers["abort"] = [SLOW]
    commit(publisher)
    assert broker.calls.count("abort") == 2
    assert broker.committed == WHOLE


def test_a_full_queue_drains(broker: Broker, publisher: Publisher) -> None:
    def refuse_once(broker: Broker) -> Callable[..., None]:
        take, full = broker.produce, [True]

        def produce(topic: str, **record: Any) -> None:
            if full:
                full.clear()
                raise BufferError
            take(topic, **record)

        return produce

    broker.produce = refuse_once(broker)  # type: ignore[method-assign]  # full the first time
    commit(publisher)
    assert "poll" in broker.calls
    assert broker.committed == WHOLE


@pytest.mark.parametrize("call", ["init", "begin", "produce", "commit"])
def test_a_newer_trainer_ends_this_one(broker: Broker, publisher: Publisher, call: str) -> None:
    broker.answers[call] = [FENCED]

    def start_and_commit() -> None:
        publisher.start()
        commit(publisher)

    with pytest.raises(TrainerFenced, match="headrace/p/t"):
        start_and_commit()
    assert broker.committed == []


def test_a_fence_met_while_aborting_ends_this_one(broker: Broker, publisher: Publisher) -> None:
    broker.answers |= {"commit": [ABORT], "abort": [FENCED]}
    with pytest.raises(TrainerFenced):
        commit(publisher)


def test_a_transaction_that_the_broker_gave_up_is_no_newer_trainer(
    broker: Broker, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([1_000.0, 1_000.0 + publish.TRANSACTION_MS / 1000])
    monkeypatch.setattr("headrace.trainer.publish.time.monotonic", lambda: next(clock))
    broker.answers["commit"] = [FENCED]
    with pytest.raises(CommitTimedOut, match="open for 60 s"):
        commit(publisher)
    assert broker.committed == []


def test_no_call_is_repeated_for_longer_than_the_broker_keeps_its_transaction(
    broker: Broker, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count(1_000.0, 25.0)
    monkeypatch.setattr("headrace.trainer.publish.time.monotonic", lambda: next(clock))
    broker.answers["commit"] = [SLOW] * 1000
    with pytest.raises(CommitTimedOut, match="open for 75 s"):
        commit(publisher)
    assert broker.calls.count("commit") == 3
    assert broker.committed == []


def test_a_refusal_for_good_is_not_called_a_fence(broker: Broker, publisher: Publisher) -> None:
    broker.answers["commit"] = [FORBIDDEN]
    with pytest.raises(CommitRefused, match="rights"):
        commit(publisher)


def test_a_trainer_that_is_told_to_stop_does_not_wait_for_the_broker(broker: Broker) -> None:
    stop = threading.Event()
    stop.set()
    codec = Codec(Registry("mock://publish"))
    publisher = Publisher(
        KafkaConfig(bootstrap="127.0.0.1:1"), codec, Patience(stop=stop), policy="p", trainer="t"
    )
    broker.answers["init"] = [SLOW] * 1000
    with pytest.raises(Stopped):
        publisher.start()
