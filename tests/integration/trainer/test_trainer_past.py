"""How much of `outcomes` a restarted trainer reads, and that it decides no group twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from headrace.connectors.kafka import (
    KafkaConfig,
    Outgoing,
    Registry,
    RegistryAccess,
    Tailer,
    Writer,
)
from headrace.infra.embedded.models import tiny_llama
from headrace.schemas import (
    Codec,
    CreditsBatch,
    Outcome,
    PolicyRecord,
    PolicyVersion,
    from_avro,
    new_ulid,
    to_avro,
)
from headrace.trainer import decided as past_decisions
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.config import TrainerConfig
from headrace.trainer.decided import Decided, Decision, GroupKey
from headrace.trainer.recover import Whose
from headrace.trainer.run import Trainer
from headrace.trainer.trainable import IntakeConfig
from tests.integration.trainer.records import GROUP, credits_of, samples_of
from tests.support.shared_log import readable
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

OUTCOMES, POLICIES = "headrace.outcomes", "headrace.policies"
CREDITS, SAMPLES = "headrace.credits", "headrace.samples"
PARTITION = 5
SECONDS = 120.0


class Topics:
    """One policy's records on the shared topics."""

    def __init__(self, stack: Stack) -> None:
        self.kafka = KafkaConfig(bootstrap=stack.bootstrap)
        self.policy = f"p{new_ulid()}"
        self.outcomes: list[Outcome] = []
        self.versions: list[PolicyVersion] = []
        self._registry = Registry(stack.registry_url)
        self._codec = Codec(self._registry)
        self._writer = Writer(self.kafka)
        self._tailer = Tailer(self.kafka, [OUTCOMES, POLICIES], name="test.past")

    def send(self, topic: str, record: object) -> None:
        value = self._codec.encode(topic, to_avro(record))
        self._writer.send([Outgoing(topic=topic, value=value, partition=PARTITION)], SECONDS)

    def send_samples(self, group: str, version: int) -> None:
        for sample in samples_of(credits_of(self.policy, group), version):
            self.send(SAMPLES, sample)

    def send_credits(self, group: str, log_first: int, version: int = 10) -> None:
        credits = credits_of(self.policy, group, version=version, log_first=log_first)
        self.send(CREDITS, CreditsBatch(credits=[credits]))

    def put(self, group: str, version: int) -> int:
        """A group sampled by a version; returns when it began."""
        began = now()
        self.send_samples(group, version)
        self.send_credits(group, began)
        return began

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        def read_and_look() -> bool:
            for message in self._tailer.read(0.1):
                self._take(message.topic, readable(self._codec, message.topic, message.value))
            return holds()

        wait_until(read_and_look, what)

    def await_version(self, version: int) -> None:
        self.wait(f"version {version}", lambda: version in [v.version for v in self.versions])

    def close(self) -> None:
        self._writer.close()
        self._tailer.close()
        self._registry.close()

    def _take(self, topic: str, data: dict[str, object] | None) -> None:
        if data is None:
            return
        if topic == OUTCOMES:
            outcome = from_avro(Outcome, data)
            self.outcomes += [outcome] if outcome.policy == self.policy else []
        elif (version := from_avro(PolicyRecord, data).version) and version.policy == self.policy:
            self.versions.append(version)


@pytest.fixture
def topics(stack: Stack) -> Iterator[Topics]:
    found = Topics(stack)
    yield found
    found.close()


@pytest.fixture
def groups_read(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The groups whose outcomes a trainer has read; brokers' clocks count as exact."""
    read: set[str] = set()
    add_outcome = Whose.add_outcome

    def noting(
        whose: Whose, decisions: dict[GroupKey, Decision], outcome: Outcome, log_time: int
    ) -> None:
        if outcome.policy == topics.policy:
            read.add(outcome.group_id)
        add_outcome(whose, decisions, outcome, log_time)

    monkeypatch.setattr(Whose, "add_outcome", noting)
    monkeypatch.setattr(past_decisions, "SKEW_MS", 0)
    return read


@pytest.fixture
def trainer(stack: Stack, topics: Topics, tmp_path: Path) -> Callable[[], Trainer]:
    torch.set_num_threads(1)
    config = TrainerConfig(
        kafka=topics.kafka,
        registry=RegistryAccess(url=stack.registry_url),
        base_model=tiny_llama(tmp_path / "model"),
        base_name="tiny",
        checkpoints=tmp_path / "checkpoints",
        intake=IntakeConfig(policy=topics.policy, rollouts_per_step=GROUP),
        algorithm=AlgorithmConfig(horizon=4),
        threads=1,
    )
    return lambda: Trainer(config)


@contextmanager
def running(trainer: Trainer) -> Iterator[None]:
    stop, errors = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            trainer.run(stop)
        except BaseException as error:  # handed to the test
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(SECONDS)
    assert not thread.is_alive()
    assert errors == []


def now() -> int:
    """The broker's log time: it is on this machine."""
    return time.time_ns() // 1_000_000


def test_a_restart_reads_the_outcomes_it_needs_and_decides_no_group_twice(
    topics: Topics, groups_read: set[str], trainer: Callable[[], Trainer]
) -> None:
    long_ago, waiting, decided = (new_ulid() for _ in range(3))
    with running(trainer()):
        topics.await_version(0)
        began_long_ago = topics.put(long_ago, version=0)
        topics.await_version(1)
        began = now()
        topics.send_samples(waiting, version=1)  # its credits come later: it is read again
        topics.put(decided, version=1)
        topics.await_version(2)
    assert groups_read == set()

    with running(trainer()):
        topics.send_credits(waiting, began)
        topics.await_version(3)
        assert groups_read == {decided}
        topics.send_credits(long_ago, began_long_ago, version=12)  # a reward that came late
        topics.wait("the revision", lambda: any(o.outcome == "revised" for o in topics.outcomes))
        assert groups_read == {decided, long_ago}

    assert [v.groups for v in topics.versions] == [[], [long_ago], [decided], [waiting]]
    ended = Counter(o.sample_id for o in topics.outcomes if o.outcome != "revised")
    assert ended == {
        f"{g}-{i}/a/s/0": 1 for g in (long_ago, decided, waiting) for i in range(GROUP)
    }
    assert {o.reason for o in topics.outcomes} == {"", "revised_after_training"}


def test_a_trainer_forgets_old_decisions_and_decides_no_group_twice(
    topics: Topics,
    groups_read: set[str],
    trainer: Callable[[], Trainer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(past_decisions, "KEEP_MS", 0)
    monkeypatch.setattr(Decided.__init__, "__kwdefaults__", {"most": 2})
    groups = [new_ulid() for _ in range(6)]
    with running(trainer()):
        topics.await_version(0)
        began = []
        for version, group in enumerate(groups):
            began.append(topics.put(group, version))
            topics.await_version(version + 1)
        assert groups_read == set()  # all that is known is from this life
        topics.send_credits(groups[0], began[0], version=12)
        topics.wait("the revision", lambda: any(o.outcome == "revised" for o in topics.outcomes))
    assert groups[0] in groups_read
    assert groups[-1] not in groups_read
    assert [v.groups for v in topics.versions] == [[], *([group] for group in groups)]
    revised = [o.group_id for o in topics.outcomes if o.outcome == "revised"]
    assert revised == [groups[0]] * GROUP
