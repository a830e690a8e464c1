"""The topics as data."""

from __future__ import annotations

from headrace.connectors.kafka.topics import DEAD_LETTERS, STREAMS, TOPICS
from headrace.schemas.topics import MAX_MESSAGE_BYTES


def test_the_streams_are_those_of_the_design() -> None:
    names = {spec.name.removeprefix("headrace.") for spec in STREAMS}
    assert names == {
        "tasks",
        "spans",
        "episodes",
        "samples",
        "credits",
        "policies",
        "outcomes",
        "halts",
    }


def test_records_of_one_rollout_or_group_share_a_partition_key() -> None:
    keys = {spec.name: spec.key for spec in STREAMS}
    assert keys["headrace.tasks"] == keys["headrace.spans"] == "rollout_id"
    assert keys["headrace.episodes"] == keys["headrace.samples"] == "group_id"
    assert keys["headrace.credits"] == "group_id"


def test_only_what_is_a_state_is_compacted_and_in_one_partition() -> None:
    for spec in STREAMS:
        state = spec.name in ("headrace.policies", "headrace.halts")
        assert spec.cleanup == ("compact" if state else "delete")
        assert spec.count(8) == (1 if state else 8)


def test_every_stream_has_a_dead_letter_topic_of_one_partition() -> None:
    assert {spec.name for spec in DEAD_LETTERS} == {f"{spec.name}.dlq" for spec in STREAMS}
    assert {spec.count(8) for spec in DEAD_LETTERS} == {1}


def test_time_is_the_logs_on_every_topic() -> None:
    for spec in TOPICS:
        assert spec.config["message.timestamp.type"] == "LogAppendTime"
        assert int(spec.config["max.message.bytes"]) == MAX_MESSAGE_BYTES == 8 * 2**20
