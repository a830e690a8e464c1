"""The sink as a stage: rows and dead letters of a take, in whatever order its records came."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from headrace.connectors.kafka import DeadLetter, LogRecord
from headrace.schemas import PolicyRecord, PolicyVersion, Task, to_avro
from headrace.schemas.topics import Topic, dead_letters_of
from headrace.streams.sink.stage import SinkStage
from tests.streams.assembling import CODEC


class Outside:
    """Tables and dead-letter topics in memory, and the order in which they were written."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.letters: list[DeadLetter] = []
        self.order: list[str] = []

    def query_arrow(self, sql: str, parameters: dict[str, object] | None = None) -> pa.Table:
        raise AssertionError(f"the sink asks for nothing: {sql}")

    def insert_arrow(self, table: str, data: pa.RecordBatch | pa.Table) -> int:
        self.order.append(table)
        self.rows.setdefault(table, []).extend(data.to_pylist())
        return int(data.num_rows)

    def send(self, letters: Sequence[DeadLetter]) -> None:
        self.order.append("letters")
        self.letters += letters


def record(topic: str, offset: int, value: bytes | None) -> LogRecord:
    return LogRecord(topic=topic, partition=0, offset=offset, log_time=5, value=value)


def take(*records: LogRecord) -> tuple[Outside, SinkStage, Sequence[DeadLetter]]:
    outside = Outside()
    stage = SinkStage(tables=outside, dead_letters=outside, codec=CODEC, unknown_schema_s=0.0)
    return outside, stage, asyncio.run(stage.take(records))


def task(rollout: str, **facts: Any) -> bytes:
    return CODEC.encode(Topic.TASKS, to_avro(Task(rollout_id=rollout, **facts)))


def test_a_take_is_one_block_a_table_and_its_dead_letters_come_first() -> None:
    version = PolicyRecord(version=PolicyVersion(policy="p", version=1))
    outside, stage, refused = take(
        record(Topic.TASKS, 0, task("r0")),
        record(Topic.POLICIES, 0, CODEC.encode(Topic.POLICIES, to_avro(version))),
        record(Topic.TASKS, 1, b"no task"),
        record(Topic.POLICIES, 1, None),
        record(Topic.TASKS, 2, task("r1")),
        record(dead_letters_of(Topic.SPANS), 9, b"a letter of another stage"),
    )
    assert outside.order == ["letters", "tasks", "policies", "dead_letters"]
    assert [row["rollout_id"] for row in outside.rows["tasks"]] == ["r0", "r1"]
    assert [(letter.offset, letter.log_time) for letter in refused] == [(1, 5)]
    assert list(refused) == outside.letters
    assert stage.counters == {"tasks": 2, "policies": 1, "dead_letters": 1, "refused": 1}


def test_what_no_column_can_hold_is_refused_and_the_rest_is_stored() -> None:
    outside, _, (letter,) = take(
        record(Topic.TASKS, 0, task("r0", group_size=-1)), record(Topic.TASKS, 1, task("r1"))
    )
    assert letter.message == "group_size is -1: tasks cannot hold it"
    assert [row["rollout_id"] for row in outside.rows["tasks"]] == ["r1"]
