"""The real broker and registry, as unmodified clients see them."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from headrace.connectors.kafka import TopicMismatch
from headrace.connectors.kafka.topics import TOPICS, create_topics
from headrace.infra.supervise import PartState, State
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack


def avro(**fields: object) -> Schema:
    described = [{"name": name, **spec} for name, spec in fields.items() if isinstance(spec, dict)]
    return Schema(json.dumps({"type": "record", "name": "T", "fields": described}), "AVRO")


def producer(bootstrap: str) -> Producer:
    return Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all"})


def deliver(client: Producer, topic: str, values: list[bytes]) -> None:
    errors: list[object] = []
    for value in values:
        client.produce(topic, value, partition=0, on_delivery=lambda error, _: errors.append(error))
    assert client.flush(60) == 0
    assert errors == [None] * len(values)


def read(bootstrap: str, topic: str) -> list[tuple[bytes, int]]:
    """Return value and kind of time stamp of every record of partition 0."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.partition.eof": True}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[tuple[bytes, int]] = []
        while (message := consumer.poll(30)) is not None and message.error() is None:
            if (value := message.value()) is not None:  # other tests write empty ones, too
                found.append((value, message.timestamp()[0]))
        assert message is not None, "the broker did not answer"
        return found
    finally:
        consumer.close()


def test_all_parts_are_ready_on_loopback(stack: Stack) -> None:
    states = stack.supervisor.states()
    assert {state.name for state in states} == {"kafka", "registry", "clickhouse"}
    assert {state.state for state in states} == {State.READY}
    assert all("127.0.0.1:" in (state.endpoint or "") for state in states)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_no_web_page_deletes_a_schema(stack: Stack, headers: dict[str, str]) -> None:
    url = f"{stack.registry_url}/subjects/none-value"
    asked = urllib.request.Request(url, headers=headers, method="DELETE")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked, timeout=20)
    with caught.value as error:
        assert error.code == 403


@pytest.mark.parametrize("name", ["clickhouse", "kafka", "registry"])
def test_a_part_that_hangs_is_told_of_and_goes_on(stack: Stack, name: str) -> None:
    def state() -> PartState:
        return next(each for each in stack.supervisor.states() if each.name == name)

    before = state()
    assert before.pid is not None
    os.killpg(before.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: state().silent_s > 12, f"{name} to be called silent")
        assert state().state is State.SILENT
        assert state().message.startswith("not answering for ")
    finally:
        os.killpg(before.pid, signal.SIGCONT)
    wait_until(lambda: state().state is State.READY, f"{name} to answer again")
    assert (state().pid, state().restarts) == (before.pid, before.restarts)
    if name == "kafka":
        deliver(producer(stack.bootstrap), "headrace.tasks.dlq", [b"later"])


def test_topics_are_created_once_and_checked_again(stack: Stack) -> None:
    create_topics(stack.bootstrap)
    found = AdminClient({"bootstrap.servers": stack.bootstrap}).list_topics(timeout=10).topics
    for spec in TOPICS:
        assert len(found[spec.name].partitions) == spec.count(8)


def test_another_partition_count_is_refused_with_both_named(stack: Stack) -> None:
    with pytest.raises(TopicMismatch, match=r"has 8 partitions.*asks for 4"):
        create_topics(stack.bootstrap, partitions=4)


def test_a_record_of_eight_megabytes_passes_and_carries_the_brokers_time(stack: Stack) -> None:
    client = Producer({"bootstrap.servers": stack.bootstrap, "message.max.bytes": 9_000_000})
    large = b"x" * (8 * 2**20 - 1024)
    deliver(client, "headrace.samples.dlq", [large])
    # The topic is shared with other tests of the run.
    assert read(stack.bootstrap, "headrace.samples.dlq")[-1] == (large, TIMESTAMP_LOG_APPEND_TIME)


def test_an_acknowledged_record_survives_the_broker_being_killed(stack: Stack) -> None:
    topic = "headrace.tasks.dlq"
    client = producer(stack.bootstrap)
    deliver(client, topic, [b"before"])
    stack.kill("kafka")
    deliver(client, topic, [b"after"])  # the same client lives through it
    assert [value for value, _ in read(stack.bootstrap, topic)][-2:] == [b"before", b"after"]


def test_the_registry_keeps_schemas_in_kafka_and_refuses_incompatible_ones(stack: Stack) -> None:
    plain = {"type": "long"}
    with SchemaRegistryClient.new_client({"url": stack.registry_url}) as client:
        first = client.register_schema("test-value", avro(a=plain))
        optional = {"type": "long", "default": 0}
        client.register_schema("test-value", avro(a=plain, b=optional))
        assert client.get_compatibility() == "FULL_TRANSITIVE"
        with pytest.raises(SchemaRegistryError) as refused:
            client.register_schema("test-value", avro(a=plain, b=optional, c=plain))
        assert refused.value.http_status_code == 409
    stack.kill("registry")
    with SchemaRegistryClient.new_client({"url": stack.registry_url}) as client:
        assert client.register_schema("test-value", avro(a=plain)) == first
        assert client.get_versions("test-value") == [1, 2]
        assert client.get_compatibility() == "FULL_TRANSITIVE"
