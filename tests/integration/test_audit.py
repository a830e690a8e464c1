"""`headrace audit` on the real stack: clean while it runs, and nothing lost or doubled escapes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Writer
from headrace.connectors.sdk import Attempt, SdkConfig, Telemetry
from headrace.infra.cli.app import NO
from headrace.schemas import (
    Codec,
    Span,
    Start,
    build_span_batch,
    new_span_id,
    new_ulid,
    partition_of,
)
from tests.support.environment import environment_of
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

TOPIC, PARTITIONS = "headrace.spans", 8
DATABASE, PROJECT = "audited", "audited"
ROLLOUTS = [new_ulid() for _ in range(6)]


class AuditBench:
    """Both stages on a database of their own, and the command line."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        self.environment = environment_of(
            stack,
            HEADRACE_CLICKHOUSE_DATABASE=DATABASE,
            HEADRACE_CREDIT_RULE="reward-span:right",
            HEADRACE_RUN_DIRECTORY=directory,
            HEADRACE_DATA_DIRECTORY=directory / "data",
        )
        self.processes = [self._start(stage) for stage in ("assemble", "credit")]

    def _start(self, stage: str) -> subprocess.Popen[bytes]:
        own = {"HEADRACE_WORKER": f"audited-{stage}", "HEADRACE_GROUP": f"audited.{stage}"}
        return start_stage(stage, {**self.environment, **own}, self.directory / f"{stage}.log")

    def audit(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headrace.infra.cli", "audit", "--project", PROJECT]
        command += ["--assemble-group", "audited.assemble", "--credit-group", "audited.credit"]
        return subprocess.run(
            [*command, *words],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def report(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.audit("--json").stdout)
        return told


def emit(stack: Stack, rollouts: list[str]) -> int:
    """Two groups of agents' attempts; how many spans they are."""
    telemetry = Telemetry(SdkConfig(bootstrap=stack.bootstrap, registry_url=stack.registry_url))
    spans = 0
    for number, rollout in enumerate(rollouts):
        group = rollouts[number // 2 * 2 : number // 2 * 2 + 2]
        facts = Start(group_id=group[0], group_size=2, group_rollouts=tuple(group))
        one = Attempt(telemetry, rollout, "a", project=PROJECT, facts=facts)
        one.start()
        for step in range(5):
            one.event(f"step {step}")
        one.reward("right", float(number % 2))
        one.end("done")
        spans += one.emitted + 2  # start and end are emitted apart
    telemetry.close()
    return spans


@pytest.fixture(scope="module")
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    yield client
    client.close()


@pytest.fixture(scope="module")
def bench(
    stack: Stack, clickhouse: ClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AuditBench]:
    made = AuditBench(stack, tmp_path_factory.mktemp("audited"))
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def in_groups(clickhouse: ClickHouse) -> int:
    (row,) = clickhouse.query(
        "SELECT count() AS n FROM credits WHERE project = {project:String}", {"project": PROJECT}
    )
    count = row["n"]
    assert isinstance(count, int)
    return count


def test_a_live_system_is_clean_and_what_is_lost_or_doubled_is_found(
    stack: Stack, clickhouse: ClickHouse, bench: AuditBench
) -> None:
    spans = emit(stack, ROLLOUTS)
    while_running = bench.audit()  # whatever is acknowledged by now
    assert while_running.returncode == 0, while_running.stdout + while_running.stderr
    wait_until(lambda: in_groups(clickhouse) == len(ROLLOUTS), f"credit ({bench.directory})")
    wait_until(lambda: bench.report()["counts"]["spans"]["in_log"] == spans, "the acknowledgement")

    told = bench.report()
    assert told["clean"], told
    assert told["counts"]["spans"] == {
        "in_log": spans, "repeated": 0, "lost": 0, "extra": 0, "stored": spans,
    }  # fmt: skip
    assert told["counts"]["producers"] == {"incarnations": 1, "missing": 0}
    assert told["counts"]["episodes"] == {"closed": 6, "credited": 6, "waiting": 0}
    shown = bench.audit()
    assert "clean: nothing lost, nothing doubled" in shown.stdout

    # A row is taken away.
    (victim,) = clickhouse.query(
        "SELECT rollout_id, span_id, offset FROM spans FINAL WHERE project = {project:String}"
        " AND kind = 'event' LIMIT 1",
        {"project": PROJECT},
    )
    clickhouse.command("CREATE TABLE kept AS spans ENGINE = Memory")
    where = f"project = '{PROJECT}' AND span_id = '{victim['span_id']}'"
    clickhouse.command(f"INSERT INTO kept SELECT * FROM spans WHERE {where}")
    clickhouse.command(f"DELETE FROM spans WHERE {where}")
    lacking = bench.audit()
    assert lacking.returncode == NO
    place = f"{victim['offset']} {PROJECT}/{victim['rollout_id']}/a/{victim['span_id']}"
    assert f"{place}: stands in the log alone" in lacking.stdout
    assert "7 spans, its row counts 8" in lacking.stdout
    clickhouse.command("INSERT INTO spans SELECT * FROM kept")
    assert bench.audit().returncode == 0

    # A row is doubled: under another id, for the table keeps an id once.
    clickhouse.command("INSERT INTO spans SELECT * REPLACE ('doubled' AS span_id) FROM kept")
    doubled = bench.audit()
    assert doubled.returncode == NO
    assert f"{PROJECT}/{victim['rollout_id']}/a/doubled: stands in `spans` alone" in doubled.stdout
    assert "9 spans, its row counts 8" in doubled.stdout
    clickhouse.command(f"DELETE FROM spans WHERE project = '{PROJECT}' AND span_id = 'doubled'")

    # An episode that its group forgot.
    clickhouse.command(
        f"DELETE FROM groups WHERE project = '{PROJECT}' AND group_id = '{ROLLOUTS[0]}'"
    )
    forgotten = bench.report()
    assert forgotten["found"] == {"not_credited": 2}


def test_a_record_that_was_set_aside_is_no_difference_and_a_hole_is_one(
    stack: Stack, bench: AuditBench
) -> None:
    rollout = new_ulid()
    where = partition_of(rollout, PARTITIONS)
    registry = Registry(stack.registry_url)
    codec = Codec(registry)

    def batch(number: int) -> Outgoing:
        span = Span(
            project=PROJECT, rollout_id=rollout, attempt="a", span_id=new_span_id(), kind="event",
            name="step",
        )  # fmt: skip
        sealed = build_span_batch(
            [span],
            producer="holed",
            sequence=number,
            episode_batches={(PROJECT, rollout, "a"): number},
        )
        return Outgoing(topic=TOPIC, partition=where, value=codec.encode(TOPIC, sealed))

    before = bench.report()["counts"]["records"]
    writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))
    poison = Outgoing(topic=TOPIC, partition=where, value=b"poison")
    writer.send([batch(0), poison, batch(1000)])  # more than dead letters can explain
    wait_until(
        lambda: bench.report()["counts"]["records"]["acknowledged"] >= before["acknowledged"] + 3,
        "the records being acknowledged",
    )
    told = bench.report()
    letters = told["counts"]["records"]["dead_lettered"] - before.get("dead_lettered", 0)
    assert letters == 1
    assert "unread" not in told["found"]
    assert {
        "kind": "missing_batch",
        "where": f"{TOPIC}/{where}",
        "detail": "producer holed: batches 1 to 999 are not in the log",
    } in told["differences"]
    writer.close()
    registry.close()
