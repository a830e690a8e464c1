"""The sink on real parts: its rows are the committed log, whatever is killed or sent again."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Writer, producer_settings
from headrace.connectors.kafka.offsets import Offsets, Partition
from headrace.connectors.kafka.topics import DEFAULT_PARTITIONS
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.schemas import Codec, Outcome, PolicyRecord, PolicyVersion, Task, Traffic, to_avro
from headrace.streams.sink.tables import SCHEMAS
from tests.support.environment import environment_of
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

PROJECT = "logsink-exact"
POISON = b"\x02 is no task"


@contextmanager
def sink(stack: Stack, directory: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A sink of its own group, killed at the end."""
    environment = environment_of(
        stack,
        HEADRACE_CLICKHOUSE_DATABASE="logsink",
        HEADRACE_GROUP=f"test.{name}",
        HEADRACE_WORKER=name,
        HEADRACE_RUN_DIRECTORY=directory,
    )
    process = start_stage("sink", environment, directory / f"{name}.log")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def codec(stack: Stack) -> Iterator[Codec]:
    registry = Registry(stack.registry_url)
    yield Codec(registry)
    registry.close()


@pytest.fixture
def client(stack: Stack) -> Iterator[ClickHouse]:
    made = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database="logsink"))
    migrate.apply(made)
    yield made
    made.close()


def records(codec: Codec, start: int, count: int) -> list[Outgoing]:
    """Outcomes and tasks of some rollouts."""
    made = []
    for number in range(start, start + count):
        rollout = f"{PROJECT}-{number:04}"
        outcome = Outcome(
            project=PROJECT,
            rollout_id=rollout,
            sample_id=f"{rollout}/a/s/0",
            policy="p",
            outcome="trained" if number % 3 else "dropped",
            reason="" if number % 3 else "stale",
            tokens=number,
            trainer="t",
        )
        task = Task(project=PROJECT, rollout_id=rollout, group_id="g", input="1 + 1", subject=None)
        made += [
            Outgoing(topic=topic, key=rollout, value=codec.encode(topic, to_avro(record)))
            for topic, record in (("headrace.outcomes", outcome), ("headrace.tasks", task))
        ]
    return made


def transact(stack: Stack, records: list[Outgoing], *, commit: bool) -> None:
    config = KafkaConfig(bootstrap=stack.bootstrap)
    producer = Producer(producer_settings(config, transactional_id="logsink-exact"))
    producer.init_transactions(30)
    producer.begin_transaction()
    for record in records:
        producer.produce(record.topic, record.value, record.key)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def content(client: ClickHouse) -> dict[str, Any]:
    """Every row of ours, whole."""
    project = f"WHERE project = '{PROJECT}'"
    tables = {
        "outcomes": f"{project} ORDER BY rollout_id",
        "tasks": f"{project} ORDER BY rollout_id",
        "policies": f"WHERE policy = '{PROJECT}' ORDER BY version",
        "traffic": f"WHERE policy = '{PROJECT}' ORDER BY offset",
    }
    return {
        table: client.query_arrow(
            f"SELECT {', '.join(SCHEMAS[table].names)} FROM {table} FINAL {where}"
        ).to_pylist()
        for table, where in tables.items()
    }


def lag(stack: Stack, group: str) -> dict[Partition, int]:
    """By partition how many offsets any Kafka tool says that a group is behind."""
    asked = Offsets(KafkaConfig(bootstrap=stack.bootstrap))
    ends = asked.ends(("headrace.outcomes", number) for number in range(DEFAULT_PARTITIONS))
    committed = asked.committed(group, ends)
    return {
        where: end - committed.get(where, 0)
        for where, end in ends.items()
        if end > committed.get(where, 0)
    }


def counts(client: ClickHouse) -> dict[str, int]:
    return {table: len(rows) for table, rows in content(client).items()}


def letters(client: ClickHouse) -> list[dict[str, object]]:
    return client.query(
        "SELECT partition, reason, stage, size FROM dead_letters FINAL"
        f" WHERE topic = 'headrace.tasks' AND size = {len(POISON)} ORDER BY partition"
    )


def test_rows_are_the_committed_log_after_kills_and_a_second_reading(
    stack: Stack, codec: Codec, client: ClickHouse, tmp_path: Path
) -> None:
    writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))
    policy = PolicyVersion(policy=PROJECT, version=1, groups=["g"], metrics={"loss": 0.5})
    policies = [
        Outgoing(
            topic="headrace.policies",
            key=f"{PROJECT}/{what}",
            value=codec.encode("headrace.policies", to_avro(record)),
        )
        for what, record in (
            ("version/1", PolicyRecord(version=policy)),
            ("traffic", PolicyRecord(traffic=Traffic(policy=PROJECT, version=1))),
        )
    ]
    # A group size that no column can hold, beside bytes that are no record at all.
    odd = codec.encode("headrace.tasks", to_avro(Task(project=PROJECT, group_size=-1)))
    try:
        transact(stack, records(codec, 0, 100), commit=True)
        with sink(stack, tmp_path, "sink-killed"):
            wait_until(lambda: counts(client)["outcomes"] > 0, "the first rows")
            transact(stack, records(codec, 500, 20), commit=False)
        writer.send(
            [
                *policies,
                Outgoing(topic="headrace.tasks", partition=0, value=POISON),
                Outgoing(topic="headrace.tasks", partition=1, value=odd),
                *records(codec, 50, 60),  # ten new ones
            ]
        )
        stack.kill("clickhouse")
        with sink(stack, tmp_path, "sink-killed"):
            wanted = {"outcomes": 110, "tasks": 110, "policies": 1, "traffic": 1}
            wait_until(lambda: counts(client) == wanted, "every committed record")
            wait_until(lambda: len(letters(client)) == 1, "the dead letter")
        before = content(client)

        with sink(stack, tmp_path, "sink-again") as process:
            report = tmp_path / "sink-again.json"

            def has_read_all() -> bool:
                beat = read_heartbeat(report)
                return bool(beat.get("counters", {}).get("outcomes", 0) >= 160)

            wait_until(has_read_all, "the second reading")
            # The log of outcomes ends with the marker of a transaction that was taken back.
            wait_until(lambda: lag(stack, "test.sink-again") == {}, "the group to have no lag")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    finally:
        writer.close()

    assert sorted(row["tokens"] for row in before["outcomes"]) == list(range(110))
    assert before["policies"][0]["metrics"] == [("loss", 0.5)]
    # Which of two equal records is kept may differ in where it stood, in nothing else.
    assert without_position(content(client)) == without_position(before)
    assert letters(client) == [
        {"partition": 0, "reason": "malformed", "stage": "sink", "size": len(POISON)}
    ]
    refused = client.query(
        "SELECT message FROM dead_letters FINAL WHERE topic = 'headrace.tasks' AND partition = 1"
        f" AND size = {len(odd)}"
    )
    assert [str(row["message"]) for row in refused] == ["group_size is -1: tasks cannot hold it"]


def without_position(tables: dict[str, Any]) -> dict[str, Any]:
    position = {"partition", "offset", "log_time"}
    return {
        table: [{k: v for k, v in row.items() if k not in position} for row in rows]
        for table, rows in tables.items()
    }


def test_declared_columns_are_the_tables_columns(client: ClickHouse) -> None:
    live = migrate.live_schema(client)
    for table, schema in SCHEMAS.items():
        assert set(schema.names) == set(live[table])
