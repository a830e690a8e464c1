"""ClickHouse stands still under load: nothing is lost, memory stays flat, and all catches up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig
from headrace.connectors.kafka.lag import Lags
from headrace.connectors.sdk import Attempt, SdkConfig, Telemetry
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.schemas import new_ulid
from tests.support.environment import environment_of
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE, PROJECT, GROUP = "away", "away", "away"
STAGES = {"assemble": "headrace.spans", "credit": "headrace.episodes"}
TEXT = "what the tool said, at length. " * 100
MOST_GROWTH = 160 << 20
"""Bytes that a worker may grow by: buffers of its client and one take, not the backlog."""


class TablesBench:
    """Both stages on a database of their own."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack, self.directory = stack, directory
        self.environment = environment_of(
            stack,
            HEADRACE_CLICKHOUSE_DATABASE=DATABASE,
            HEADRACE_CREDIT_RULE="reward-span:right",
            HEADRACE_RUN_DIRECTORY=directory,
            HEADRACE_DATA_DIRECTORY=directory / "data",
        )
        self.workers = {stage: self._start(stage) for stage in STAGES}
        kafka = KafkaConfig(bootstrap=stack.bootstrap)
        self._lags = [Lags(kafka, f"{GROUP}.{stage}", [topic]) for stage, topic in STAGES.items()]

    def _start(self, stage: str) -> subprocess.Popen[bytes]:
        own = {"HEADRACE_WORKER": f"{GROUP}-{stage}", "HEADRACE_GROUP": f"{GROUP}.{stage}"}
        return start_stage(stage, {**self.environment, **own}, self.directory / f"{stage}.log")

    def lag(self) -> int:
        return sum(lag.records for lags in self._lags for lag in lags.ask().values())

    def memory(self) -> dict[str, int]:
        return {
            stage: psutil.Process(process.pid).memory_info().rss
            for stage, process in self.workers.items()
        }

    def waits(self) -> str:
        return str(read_heartbeat(self.directory / f"{GROUP}-assemble.json").get("waiting", ""))

    def audit(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "headrace.infra.cli", "audit", "--json"]
        command += ["--project", PROJECT]
        command += ["--assemble-group", f"{GROUP}.assemble", "--credit-group", f"{GROUP}.credit"]
        done = subprocess.run(
            command, cwd=self.directory, env=self.environment, capture_output=True, check=False
        )
        told: dict[str, Any] = json.loads(done.stdout)
        return told


@pytest.fixture
def bench(stack: Stack, tmp_path: Path) -> Iterator[TablesBench]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    client.close()
    made = TablesBench(stack, tmp_path)
    yield made
    for process in made.workers.values():
        process.kill()
        process.wait()


def produce(stack: Stack, episodes: int) -> int:
    """Some attempts of thirty spans with long texts; how many spans."""
    config = SdkConfig(
        bootstrap=stack.bootstrap, registry_url=stack.registry_url, close_timeout_s=60
    )
    telemetry = Telemetry(config)
    spans = 0
    for _ in range(episodes):
        one = Attempt(telemetry, new_ulid(), "a", project=PROJECT)
        one.start()
        for step in range(28):
            one.event(f"step {step}", {"text": TEXT})
        one.reward("right", 1.0)
        one.end("done")
        spans += one.emitted + 2  # start and end are emitted apart
    telemetry.close()
    return spans


def test_nothing_is_lost_and_memory_is_flat_while_clickhouse_stands_still(
    stack: Stack, bench: TablesBench
) -> None:
    spans = produce(stack, 5)
    wait_until(lambda: bench.lag() == 0, f"the first episodes ({bench.directory})")
    before = bench.memory()
    (engine,) = (s.pid for s in stack.supervisor.states() if s.name == "clickhouse")
    assert engine is not None
    os.killpg(engine, signal.SIGSTOP)
    try:
        for _ in range(4):
            spans += produce(stack, 150)
        backlog = bench.lag()
        grown = {stage: now - before[stage] for stage, now in bench.memory().items()}
    finally:
        os.killpg(engine, signal.SIGCONT)
    assert backlog > 50, "the tables were not away"
    assert max(grown.values()) < MOST_GROWTH, grown
    assert all(process.poll() is None for process in bench.workers.values())

    wait_until(lambda: bench.lag() == 0, f"all being caught up ({bench.directory})")
    told = bench.audit()
    assert told["clean"], told
    assert told["counts"]["spans"]["stored"] == spans
    assert told["counts"]["episodes"]["closed"] == 605


def test_a_killed_engine_is_waited_for_in_place(stack: Stack, bench: TablesBench) -> None:
    wait_until(lambda: bench.lag() == 0, f"the workers ({bench.directory})")
    (state,) = (s for s in stack.supervisor.states() if s.name == "clickhouse")
    assert state.pid is not None
    before = {stage: process.pid for stage, process in bench.workers.items()}
    os.killpg(state.pid, signal.SIGKILL)
    produce(stack, 20)
    stack.supervisor.wait_for_restart("clickhouse", after=state.restarts, timeout_s=60)
    wait_until(lambda: bench.lag() == 0, f"all being caught up ({bench.directory})")
    assert bench.audit()["clean"]
    assert {stage: process.pid for stage, process in bench.workers.items()} == before
    assert all(process.poll() is None for process in bench.workers.values())
