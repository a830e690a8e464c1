"""Records of the log topics as rows: every field lands, and odd records still count."""

import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.connectors.kafka import HALTS, LOG_LOST, POISON, RESUMED, LogRecord
from headrace.connectors.settings import BadSettings
from headrace.schemas import (
    Halt,
    Outcome,
    PolicyRecord,
    PolicyVersion,
    Task,
    Traffic,
    TrafficShare,
    to_avro,
)
from headrace.schemas.errors import MalformedRecord
from headrace.streams.host.committed import instance_id
from headrace.streams.host.config import host_config_from_environment
from headrace.streams.sink.tables import SCHEMAS, TOPICS, dead_letter_row, log_rows


def message(topic: str, value: bytes | None = b"", /, **headers: str) -> LogRecord:
    return LogRecord(
        topic=topic,
        partition=3,
        offset=14,
        log_time=1_000,
        value=value,
        headers={f"headrace.error.{name}": text.encode() for name, text in headers.items()},
    )


def stored(topic: str, record: Any) -> tuple[str, dict[str, Any]]:
    """The table and the row as it comes out of its Arrow columns."""
    (*_, (table, row)) = log_rows(message(topic), to_avro(record))
    assert set(row) == set(SCHEMAS[table].names)
    (back,) = pa.Table.from_pylist([row], SCHEMAS[table]).to_pylist()
    return table, back


def test_an_outcome_keeps_every_field_and_where_it_stood() -> None:
    outcome = Outcome(rollout_id="r", sample_id="s", advantage=0.5, tokens=7, credits_version=9)
    table, row = stored("headrace.outcomes", outcome)
    assert table == "outcomes"
    none: dict[str, Any] = {"token_logprobs": [], "token_entropies": [], "token_masked": []}
    position = {"partition": 3, "offset": 14, "log_time": 1_000}
    assert row == dataclasses.asdict(outcome) | position | none


def test_what_the_trainer_saw_of_each_token_is_unpacked() -> None:
    seen = Outcome(
        entropy=0.5,
        token_logprobs=np.array([-0.5, -2.0], "<f4").tobytes(),
        token_masked=bytes([0, 1]),
    )
    _, row = stored("headrace.outcomes", seen)
    assert (row["entropy"], row["token_logprobs"], row["token_entropies"], row["token_masked"]) == (
        0.5,
        [-0.5, -2.0],
        [],
        [0, 1],
    )
    with pytest.raises(MalformedRecord, match="by token"):
        log_rows(message("headrace.outcomes"), to_avro(replace(seen, token_logprobs=b"123")))


def test_a_policy_version_keeps_its_metrics_and_offsets() -> None:
    version = PolicyVersion(policy="p", version=2, groups=["g"], metrics={"loss": 0.5})
    table, row = stored("headrace.policies", PolicyRecord(version=version))
    assert table == "policies"
    assert (row["version"], row["groups"], row["metrics"]) == (2, ["g"], [("loss", 0.5)])


def test_a_change_of_traffic_has_a_row_of_its_own() -> None:
    traffic = Traffic(
        policy="p",
        version=1,
        shares=[TrafficShare(version=2, share=0.25)],
        said_by="canary",
        why="it is new",
        judged=1,
    )
    assert stored("headrace.policies", PolicyRecord(traffic=traffic)) == (
        "traffic",
        {
            "policy": "p",
            "version": 1,
            "shares": [{"version": 2, "share": 0.25}],
            "said_by": "canary",
            "why": "it is new",
            "judged": 1,
            "offset": 14,
            "log_time": 1_000,
        },
    )


def test_a_task_has_a_row() -> None:
    table, row = stored("headrace.tasks", Task(rollout_id="r", group_rollouts=["r"], subject=None))
    assert (table, row["rollout_id"], row["subject"]) == ("tasks", "r", None)


def test_a_record_that_takes_a_task_back_leaves_its_row_alone() -> None:
    record = to_avro(Task(rollout_id="r", cancelled="by hand"))
    assert log_rows(message("headrace.tasks"), record) == []


def test_every_halt_has_a_row_and_a_loss_that_was_accepted_one_more() -> None:
    halt = Halt(
        stage="assemble",
        group="headrace.assemble",
        topic="headrace.spans",
        partition=5,
        offset=10,
        end=15,
        reason=LOG_LOST,
        message="five are gone",
    )
    assert stored(HALTS, halt) == (
        "halts",
        {
            "stage": "assemble",
            "consumer_group": "headrace.assemble",
            "topic": "headrace.spans",
            "partition": 5,
            "first_offset": 10,
            "end_offset": 15,
            "state": "halted",
            "reason": "log_lost",
            "detail": "five are gone",
            "offset": 14,
            "log_time": 1_000,
        },
    )
    for other in (halt, replace(halt, state=RESUMED, reason=POISON)):
        assert [table for table, _ in log_rows(message(HALTS), to_avro(other))] == ["halts"]
    assert stored(HALTS, replace(halt, state=RESUMED)) == (
        "drops",
        {
            "stage": "assemble",
            "consumer_group": "headrace.assemble",
            "topic": "headrace.spans",
            "partition": 5,
            "first_offset": 10,
            "last_offset": 14,
            "reason": "log_lost",
            "detail": "five are gone",
            "log_time": 1_000,
        },
    )


def test_a_dead_letter_stands_under_the_record_that_it_was() -> None:
    row = dead_letter_row(
        message(
            "headrace.spans.dlq",
            b"poison",
            topic="headrace.spans",
            partition="5",
            offset="99",
            reason="malformed",
            message="no header",
            stage="assemble",
        )
    )
    assert row == {
        "topic": "headrace.spans",
        "partition": 5,
        "offset": 99,
        "reason": "malformed",
        "message": "no header",
        "stage": "assemble",
        "size": 6,
        "log_time": 1_000,
    }


def test_a_letter_that_is_not_ours_is_counted_where_it_lies() -> None:
    row = dead_letter_row(message("headrace.spans.dlq", None, topic="x", offset="-1"))
    assert (row["topic"], row["partition"], row["offset"]) == ("headrace.spans.dlq", 3, 14)
    assert (row["reason"], row["size"]) == ("unexplained", 0)


def test_every_stream_s_dead_letters_are_read() -> None:
    assert {"headrace.spans.dlq", "headrace.episodes.dlq", "headrace.tasks.dlq"} <= set(TOPICS)


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("HEADRACE_REGISTRY_URL", "http://registry:8081")
    monkeypatch.delenv("HEADRACE_CLICKHOUSE_URL", raising=False)
    with pytest.raises(BadSettings, match="HEADRACE_CLICKHOUSE_URL"):
        host_config_from_environment("sink")


def test_a_sink_is_the_same_member_after_a_restart_and_another_with_other_topics() -> None:
    here = instance_id("sink-0", ["a", "b"])
    assert here == instance_id("sink-0", ["b", "a"])
    assert here != instance_id("sink-1", ["a", "b"])
    assert here != instance_id("sink-0", ["a", "b", "c"])
