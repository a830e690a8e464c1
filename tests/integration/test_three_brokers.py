"""A cluster of three brokers outlives each leader: by the clients' own settings nothing is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
from confluent_kafka.admin import AdminClient

from headrace.connectors.kafka import (
    KafkaConfig,
    KafkaUnavailable,
    Outgoing,
    Patience,
    Registry,
    Tailer,
    Writer,
    admin_settings,
)
from headrace.connectors.kafka.topics import TOPICS, create_topics
from headrace.schemas import Codec, Outcome, PolicyVersion
from headrace.trainer.publish import Publisher
from tests.support.cluster import NODES, Cluster, running_cluster
from tests.support.waiting import wait_until

PARTITIONS, REPLICATION = 3, 3
SPANS, OUTCOMES = "headrace.spans", "headrace.outcomes"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("brokers")) as running:
        create_topics(running.bootstrap, PARTITIONS, REPLICATION)
        yield running


def leaders(cluster: Cluster, topic: str) -> dict[int, int]:
    admin = AdminClient(admin_settings(KafkaConfig(bootstrap=cluster.bootstrap)))
    found = admin.list_topics(topic, timeout=30).topics[topic].partitions
    return {number: int(one.leader) for number, one in found.items()}


def in_sync(cluster: Cluster, topic: str) -> int:
    admin = AdminClient(admin_settings(KafkaConfig(bootstrap=cluster.bootstrap)))
    found = admin.list_topics(topic, timeout=30).topics[topic].partitions
    return min(len(one.isrs) for one in found.values())


def read_all(cluster: Cluster, topic: str) -> list[bytes]:
    tailer = Tailer(KafkaConfig(bootstrap=cluster.bootstrap), [topic], name="test")
    found: list[bytes] = []
    try:
        while not tailer.caught_up:
            found += [record.value or b"" for record in tailer.read(0.5)]
    finally:
        tailer.close()
    return found


def test_topics_are_made_with_the_replication_that_is_asked_for(cluster: Cluster) -> None:
    admin = AdminClient(admin_settings(KafkaConfig(bootstrap=cluster.bootstrap)))
    names = {str(spec.name) for spec in TOPICS}
    # What a broker tells may be a moment old.
    wait_until(lambda: names <= admin.list_topics(timeout=30).topics.keys(), "the topics")
    topics = admin.list_topics(timeout=30).topics
    for spec in TOPICS:
        assert {len(one.replicas) for one in topics[spec.name].partitions.values()} == {3}
    create_topics(cluster.bootstrap, PARTITIONS, REPLICATION)  # again changes nothing


def test_no_acknowledged_record_is_lost_or_doubled_when_each_leader_dies(cluster: Cluster) -> None:
    writer = Writer(KafkaConfig(bootstrap=cluster.bootstrap))
    acknowledged: list[bytes] = []
    ended = threading.Event()
    failed: list[BaseException] = []

    def produce() -> None:
        number = 0
        try:
            while not ended.is_set():
                values = [b"%d" % n for n in range(number, number + 20)]
                number += 20
                writer.send(
                    [
                        Outgoing(topic=SPANS, value=value, partition=n % PARTITIONS)
                        for n, value in enumerate(values)
                    ]
                )
                acknowledged.extend(values)
        except BaseException as error:  # handed to the test
            failed.append(error)

    def has_gone_on(since: int) -> bool:
        return len(acknowledged) > since + 100 or bool(failed)

    producing = threading.Thread(target=produce)
    producing.start()
    try:
        for _ in range(NODES):
            wait_until(partial(has_gone_on, len(acknowledged)), "records being written")
            leader = leaders(cluster, SPANS)[0]
            restarts = cluster.kill(leader)
            wait_until(partial(has_gone_on, len(acknowledged)), "writing without the leader")
            assert not failed, failed
            cluster.wait_for(leader, restarts)
            wait_until(lambda: in_sync(cluster, SPANS) == NODES, "all replicas being in sync")
    finally:
        ended.set()
        producing.join()
        writer.close()
    counts = Counter(read_all(cluster, SPANS))
    assert [value for value in acknowledged if value not in counts] == []
    assert [value for value, number in counts.items() if number > 1] == []
    assert set(counts) == set(acknowledged)


def test_a_trainer_s_versions_are_whole_though_leaders_die(cluster: Cluster) -> None:
    kafka = KafkaConfig(bootstrap=cluster.bootstrap)
    registry = Registry("mock://three-brokers")
    codec = Codec(registry)
    publisher = Publisher(kafka, codec, Patience(), policy="p", trainer="main")
    publisher.start()
    samples = 12
    for version in range(4):
        if version in (1, 3):  # in the midst of what a trainer does
            leader = leaders(cluster, OUTCOMES)[version % PARTITIONS]
            restarts = cluster.kill(leader)
        publisher.commit(
            version=PolicyVersion(policy="p", version=version),
            outcomes=[
                Outcome(policy="p", rollout_id="r", sample_id=f"r/a/{n}/{version}")
                for n in range(samples)
            ],
        )
        if version in (1, 3):
            cluster.wait_for(leader, restarts)
    told = [codec.decode(OUTCOMES, value)["sample_id"] for value in read_all(cluster, OUTCOMES)]
    assert Counter(told) == Counter(f"r/a/{n}/{v}" for n in range(samples) for v in range(4))
    registry.close()


def test_nothing_is_acknowledged_where_two_of_three_are_dead(cluster: Cluster) -> None:
    wait_until(lambda: in_sync(cluster, SPANS) == NODES, "all replicas being in sync")
    writer = Writer(KafkaConfig(bootstrap=cluster.bootstrap))
    record = [Outgoing(topic=SPANS, value=b"one of two", partition=0)]
    restarts = {node: cluster.kill(node) for node in (1, 2)}
    with pytest.raises(KafkaUnavailable):
        writer.send(record, 1.0)
    for node, before in restarts.items():
        cluster.wait_for(node, before)
    wait_until(lambda: in_sync(cluster, SPANS) >= 2, "two replicas being in sync")
    writer.send(record, 60.0)
    writer.close()
    assert read_all(cluster, SPANS).count(b"one of two") >= 1
