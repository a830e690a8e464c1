"""The Kafka clients on the real broker: durable writes, dead letters, tailing, what is away."""

import asyncio
import time
from typing import Any

import pytest
from confluent_kafka import Producer

from headrace.connectors.kafka import (
    DeadLetter,
    DeadLetterLog,
    DeadLetters,
    KafkaConfig,
    KafkaUnavailable,
    Offsets,
    Outgoing,
    Tailer,
    TopicMissing,
    Writer,
    consumer_settings,
    partitions_of,
    producer_settings,
)
from headrace.infra.embedded import Stack
from headrace.schemas import new_ulid
from headrace.schemas.topics import StageGroup
from tests.support.waiting import wait_until

integration = pytest.mark.integration

NOWHERE = KafkaConfig(bootstrap="127.0.0.1:1")


def read(config: KafkaConfig, topic: str, wanted: int, key: bytes) -> list[Any]:
    tailer = Tailer(config, [topic], name="test.kafka")
    found: list[Any] = []

    def read_on() -> bool:
        found.extend(m for m in tailer.read(0.2) if (m.key or b"").startswith(key))
        return len(found) >= wanted and tailer.caught_up

    try:
        wait_until(read_on, lambda: f"{wanted} records, of which {len(found)} came")
    finally:
        tailer.close()
    return found


def test_settings_are_the_ones_that_lose_nothing() -> None:
    config = KafkaConfig(bootstrap="b:1", extra={"security.protocol": "SASL_SSL"})
    producer = producer_settings(config, linger_ms=0)
    assert producer["enable.idempotence"] is True
    assert producer["acks"] == "all"
    assert producer["compression.type"] == "lz4"
    assert producer["linger.ms"] == 0
    assert producer["security.protocol"] == "SASL_SSL"
    secret = KafkaConfig(bootstrap="b:1", extra={"sasl.password": "hush"}, sasl_password="hush")
    assert "hush" not in repr(secret)
    transactional = producer_settings(config, transactional_id="t", transaction_timeout_ms=9)
    assert transactional["message.timeout.ms"] == 9
    consumer = consumer_settings(config, group="g")
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["enable.auto.commit"] is False
    uncommitted = consumer_settings(config, group="g", read_committed=False)
    assert uncommitted["isolation.level"] == "read_uncommitted"


def test_an_empty_bootstrap_is_refused() -> None:
    with pytest.raises(ValueError, match="bootstrap"):
        KafkaConfig(bootstrap=" ")


def test_a_broker_that_is_away_is_said_to_be() -> None:
    with pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1"):
        partitions_of(NOWHERE, "headrace.spans", timeout=0.2)
    writer = Writer(NOWHERE)
    with pytest.raises(KafkaUnavailable, match="1 of 1"):
        writer.send([Outgoing(topic="t", value=b"v")], timeout=0.2)
    writer.close(0.0)


@integration
def test_partitions_are_the_brokers(stack: Stack) -> None:
    assert partitions_of(stack.bootstrap, "headrace.spans") == 8
    assert partitions_of(KafkaConfig(bootstrap=stack.bootstrap), "headrace.policies") == 1
    with pytest.raises(TopicMissing, match="no-such-topic"):
        partitions_of(stack.bootstrap, "no-such-topic")


@integration
@pytest.mark.parametrize("group", StageGroup)
def test_what_a_group_committed_is_told_by_its_name_of_the_enumeration_too(
    stack: Stack, group: StageGroup
) -> None:
    offsets = Offsets(KafkaConfig(bootstrap=stack.bootstrap))
    places = [("headrace.spans", 0)]
    assert offsets.committed(group, places) == offsets.committed(group.value, places)


@integration
def test_a_send_returns_when_the_broker_has_the_records(stack: Stack) -> None:
    config = KafkaConfig(bootstrap=stack.bootstrap)
    key = new_ulid()
    writer = Writer(config)
    writer.send(
        [
            Outgoing(topic="headrace.tasks.dlq", key=f"{key}/{i}", value=b"%d" % i, partition=0)
            for i in range(100)
        ]
    )
    asyncio.run(writer.asend([Outgoing(topic="headrace.tasks.dlq", key=f"{key}/x", value=None)]))
    writer.close()
    found = read(config, "headrace.tasks.dlq", 101, key.encode())
    assert [m.value for m in found] == [*(b"%d" % i for i in range(100)), None]


@integration
def test_a_record_above_the_limit_is_an_error_that_names_the_topic(stack: Stack) -> None:
    writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))
    with pytest.raises(KafkaUnavailable, match=r"headrace\.tasks"):
        writer.send([Outgoing(topic="headrace.tasks", value=bytes(9_000_000))])
    writer.close()


@integration
def test_dead_letters_carry_the_untouched_bytes_and_their_origin(stack: Stack) -> None:
    config = KafkaConfig(bootstrap=stack.bootstrap)
    topic = "headrace.samples"
    offset = time.time_ns()
    letters = DeadLetters(config)
    letters.send([])
    letters.send(
        [
            DeadLetter(
                topic=topic,
                partition=3,
                offset=offset,
                value=b"\x00not avro",
                reason="malformed",
                message="no schema \ud800",
                stage="assemble",
                log_time=1,
            )
        ]
    )
    letters.close()
    (found,) = read(config, f"{topic}.dlq", 1, f"{topic}/3/{offset}".encode())
    assert found.value == b"\x00not avro"
    assert dict(found.headers) == {
        "headrace.error.topic": topic.encode(),
        "headrace.error.partition": b"3",
        "headrace.error.offset": str(offset).encode(),
        "headrace.error.reason": b"malformed",
        "headrace.error.message": b"no schema ?",
        "headrace.error.stage": b"assemble",
        "headrace.error.log_time": b"1",
    }
    refused = DeadLetterLog(config).refused
    assert refused((topic, 3), "assemble", found.log_time)[offset] == 1
    assert offset not in refused((topic, 2), "assemble", found.log_time)
    assert offset not in refused((topic, 3), "sink", found.log_time)
    assert refused((topic, 3), "assemble", found.log_time + 3_600_000) == {}


@integration
def test_a_tailer_sees_committed_records_only_and_is_caught_up_behind_a_marker(
    stack: Stack,
) -> None:
    config = KafkaConfig(bootstrap=stack.bootstrap)
    key = new_ulid()
    producer = Producer(producer_settings(config, transactional_id=f"test-{key}"))
    producer.init_transactions(30)
    for commit in (True, False):
        producer.begin_transaction()
        producer.produce("headrace.credits.dlq", key=f"{key}/{commit}", value=b"v")
        producer.flush(30)
        (producer.commit_transaction if commit else producer.abort_transaction)(30)
    found = read(config, "headrace.credits.dlq", 1, key.encode())
    assert [m.key for m in found] == [f"{key}/True".encode()]
