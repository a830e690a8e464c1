"""A real broker that is killed in the middle of the trainer's transaction, at each of its steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from headrace.connectors.kafka import KafkaConfig, Offsets, Patience, Registry, Tailer
from headrace.connectors.kafka.config import producer_settings
from headrace.connectors.kafka.topics import create_topics
from headrace.schemas import Codec, Outcome, PolicyVersion
from headrace.trainer import publish
from headrace.trainer.errors import CommitTimedOut
from headrace.trainer.publish import Publisher
from tests.support.cluster import Cluster, running_cluster
from tests.support.waiting import wait_until

BOUND_S = 15
POLICIES, OUTCOMES, READ = "headrace.policies", "headrace.outcomes", ("headrace.samples", 0)
GROUP = "headrace.trainer.test"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker alone, which is started again when it dies."""
    with running_cluster(tmp_path_factory.mktemp("broker"), nodes=1) as running:
        create_topics(running.bootstrap, 1, 1)
        yield running


class Killing:
    """A transactional producer of which one call finds the broker just killed, once."""

    def __init__(self, cluster: Cluster, step: str, settings: dict[str, Any]) -> None:
        self.restarts: int | None = None
        self._producer = Producer(settings)
        self._cluster = cluster
        self._step = step

    def __getattr__(self, name: str) -> Any:
        if name == self._step and self.restarts is None:
            self.restarts = self._cluster.kill(1)
        return getattr(self._producer, name)


def committed(cluster: Cluster, topic: str) -> int:
    """Committed records of a topic; a transaction that is still open would keep it from an end."""
    kafka = KafkaConfig(bootstrap=cluster.bootstrap)
    tailer = Tailer(kafka, [topic], name="test")
    found = 0
    try:
        ends = tailer.ends(tailer.partitions)
        while not tailer.has_read(ends):
            found += len(tailer.read(0.5))
    finally:
        tailer.close()
    return found


@pytest.mark.parametrize("step", ["begin_transaction", "commit_transaction"])
def test_a_transaction_is_whole_or_not_at_all_and_takes_no_longer_than_its_bound(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(publish, "TRANSACTION_MS", BOUND_S * 1000)
    made: list[Killing] = []

    def producer(config: KafkaConfig, **settings: Any) -> Killing:
        found = producer_settings(config, **settings)
        made.append(Killing(cluster, step if not made else "none", found))
        return made[-1]

    monkeypatch.setattr(publish, "make_producer", producer)
    kafka = KafkaConfig(bootstrap=cluster.bootstrap)
    codec = Codec(Registry("mock://commit"))

    def publisher() -> Publisher:
        one = Publisher(kafka, codec, Patience(delay_s=0.1), policy=step, trainer="t")
        one.start()
        return one

    reading = Tailer(kafka, [READ[0]], name=GROUP)
    versions, outcomes = committed(cluster, POLICIES), committed(cluster, OUTCOMES)
    version = PolicyVersion(policy=step, version=1)
    facts: dict[str, Any] = {
        "version": version,
        "outcomes": [Outcome(rollout_id="a"), Outcome(rollout_id="b")],
    }
    first = publisher()
    begun = time.monotonic()
    try:
        first.commit(**facts)
    except CommitTimedOut:  # nobody knows: the broker may have committed and died unheard
        is_known = False
        assert time.monotonic() - begun >= BOUND_S
    else:
        is_known = True
    assert made[0].restarts is not None, "the broker was killed"
    cluster.wait_for(1, made[0].restarts)

    def written() -> tuple[int, int]:
        return committed(cluster, POLICIES) - versions, committed(cluster, OUTCOMES) - outcomes

    again = publisher()  # it ends what the first may have left open, and reads how it ended
    assert written() in ([(1, 2)] if is_known else [(0, 0), (1, 2)])
    if written() == (0, 0):
        again.commit(**facts)
    assert written() == (1, 2)
    reading.tell_group({READ: 7})  # follows the transaction, and is waited for by nobody
    offsets = Offsets(kafka)

    def is_told() -> bool:
        reading.read(0.1)
        return offsets.committed(GROUP, [READ]) == {READ: 7}

    wait_until(is_told, "the group's offset")
    reading.close()
