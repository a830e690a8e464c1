"""Offsets asked of the real broker: where a log begins and ends, through the broker's death."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import TopicPartition

# Public names, but not in an __all__.
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from headrace.connectors.kafka import (
    KafkaConfig,
    KafkaUnavailable,
    Offsets,
    Outgoing,
    Partition,
    Writer,
)
from headrace.schemas import new_ulid
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

SECONDS = 60.0


def topic_of(stack: Stack, records: int, lost: int = 0) -> Partition:
    """A partition with some records, the first of which may be gone."""
    where = (f"test.{new_ulid()}", 0)
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    for made in admin.create_topics([NewTopic(where[0], num_partitions=1)]).values():
        made.result(SECONDS)
    writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))
    writer.send([Outgoing(topic=where[0], value=b"x", partition=0)] * records)
    writer.close()
    if lost:
        for future in admin.delete_records([TopicPartition(*where, lost)]).values():
            future.result(SECONDS)
    return where


def test_a_log_has_a_start_an_end_and_what_a_group_has_committed(stack: Stack) -> None:
    where = topic_of(stack, records=5, lost=2)
    asking = Offsets(KafkaConfig(bootstrap=stack.bootstrap))
    assert asking.starts([where]) == {where: 2}
    assert asking.ends([where]) == {where: 5}
    assert asking.committed("nobody", [where]) == {}
    assert asking.starts([]) == asking.ends([]) == asking.committed("nobody", []) == {}


def test_the_same_client_answers_again_after_the_broker_died(stack: Stack) -> None:
    where = topic_of(stack, records=5)
    asking = Offsets(KafkaConfig(bootstrap=stack.bootstrap))
    assert asking.starts([where]) == {where: 0}
    stack.kill("kafka")

    def answers() -> bool:
        try:
            assert asking.starts([where]) == {where: 0}
            assert asking.ends([where]) == {where: 5}
        except KafkaUnavailable:
            return False
        return True

    wait_until(answers, "the client to see that the broker is back", SECONDS)
