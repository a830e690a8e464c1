"""`headrace rebuild` on real parts: it refuses, is killed, goes on, and rows are equal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig, Offsets, partitions_of
from headrace.connectors.sdk import Attempt, SdkConfig, Telemetry, send_reward
from headrace.infra.cli.app import NO, WRONG_USE
from headrace.infra.embedded import Stack, running_stack
from headrace.schemas import Call, Span, Start, new_span_id, new_ulid
from tests.support.environment import environment_of
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

STAGES = ("assemble", "credit", "sink")
TABLES = ("spans", "episodes", "groups")
GROUPS, SIZE = 6, 3


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A log of its own: others' tests leave bad records in theirs."""
    with running_stack(tmp_path_factory.mktemp("rebuild-stack")) as stack:
        yield stack


class System:
    """Live stages that are at work and stop, and the command."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        self.environment = environment_of(
            stack,
            HEADRACE_CREDIT_RULE="reward-span:right",
            HEADRACE_RUN_DIRECTORY=directory / "run",
            HEADRACE_DATA_DIRECTORY=directory / "data",
        )
        self.clickhouse = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url))
        migrate.apply(self.clickhouse)
        (directory / "run").mkdir(exist_ok=True)

    def work(self) -> None:
        """Let episodes be assembled and credited, and stop."""
        processes = []
        for stage in STAGES:
            log = self.directory / f"{stage}.log"
            processes.append(start_stage(stage, self.environment, log))
        telemetry = Telemetry(
            SdkConfig(bootstrap=self.stack.bootstrap, registry_url=self.stack.registry_url)
        )
        for _ in range(GROUPS):
            rollouts = [new_ulid() for _ in range(SIZE)]
            for number, rollout in enumerate(rollouts):
                _episode(telemetry, rollout, rollouts, float(number))
        send_reward(telemetry, rollouts[0], "a", "right", 9.0)  # it is changed
        _episode(telemetry, new_ulid(), [new_ulid(), new_ulid()], 1.0)  # its group stays open
        telemetry.close()
        wait_until(self._is_read, f"the live stages ({self.directory})")
        for process in processes:
            process.kill()
            process.wait()

    def _is_read(self) -> bool:
        offsets = Offsets(KafkaConfig(bootstrap=self.stack.bootstrap))
        for stage, topic in (("assemble", "headrace.spans"), ("credit", "headrace.episodes")):
            number = partitions_of(KafkaConfig(bootstrap=self.stack.bootstrap), topic)
            where = [(topic, partition) for partition in range(number)]
            ends = offsets.ends(where)
            committed = offsets.committed(f"headrace.{stage}", where)
            if any(committed.get(each, 0) < end for each, end in ends.items()):
                return False
        (row,) = self.clickhouse.query(
            "SELECT countIf(state = 'final') AS done FROM groups FINAL WHERE group_size > 1"
        )
        return int(str(row["done"])) >= GROUPS

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        return {
            table: self.clickhouse.query_arrow(
                f"SELECT * FROM {table} FINAL ORDER BY ALL"
            ).to_pylist()
            for table in TABLES
        }

    def command(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "headrace.infra.cli", "rebuild", *words],
            cwd=self.directory, env=self.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def rebuild(self, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
        process = self.command("--yes", "--json", *words)
        out, err = process.communicate(timeout=240)
        assert out, err
        return process.returncode, {one["table"]: one for one in json.loads(out)["tables"]}


def _episode(telemetry: Telemetry, rollout: str, group: list[str], right: float) -> None:
    facts = Start(group_id=group[0], group_size=len(group), group_rollouts=tuple(group), policy="p")
    attempt = Attempt(telemetry, rollout, "a", agent="solver", facts=facts)
    attempt.start()
    attempt.keep(
        Span(
            rollout_id=rollout, attempt="a", span_id=new_span_id(), kind="call", name="chat",
            started_at=1, ended_at=2, output="four",
            call=Call(
                model="m", policy="p", prompt_ids=np.arange(3, dtype="<u4"),
                sampled_ids=np.arange(2, dtype="<u4"), logprobs=np.zeros(2, dtype="<f4"),
                runs=((0, 2),), trainable=True, finish_reason="stop",
            ),
        )
    )  # fmt: skip
    attempt.reward("right", right)
    attempt.end("four")


@pytest.fixture(scope="module")
def system(own_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(own_stack, tmp_path_factory.mktemp("rebuild"))
    made.work()
    yield made
    made.clickhouse.close()


def test_it_does_nothing_by_accident(system: System) -> None:
    before = system.contents()
    refused = system.command()
    _, told = refused.communicate(timeout=60)
    assert refused.returncode == WRONG_USE
    assert "give --yes" in told
    unknown = system.command("--yes", "--stage", "trainer")
    unknown.communicate(timeout=60)
    assert unknown.returncode == WRONG_USE
    assert system.contents() == before


def test_a_rebuild_that_is_killed_leaves_all_as_it_was_and_goes_on_to_equal_rows(
    system: System,
) -> None:
    before = system.contents()
    assert len(before["episodes"]) == GROUPS * SIZE + 1
    killed = system.command("--yes")
    ready = system.directory / "data" / "rebuild" / "run" / "rebuild-assemble.json"
    wait_until(lambda: ready.exists() or killed.poll() is not None, "the rebuild's assembler")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert system.contents() == before
    code, tables = system.rebuild()
    assert code == 0
    for table in TABLES:
        assert (tables[table]["missing"], tables[table]["changed"]) == (0, 0)
        assert tables[table]["hash_was"] == tables[table]["hash_now"]
        assert tables[table]["rows"] == len(before[table])
    after = system.contents()
    assert after["spans"] == before["spans"]
    assert after["groups"] == before["groups"]
    assert _closed(after) == _closed(before)
    left = system.clickhouse.query("SELECT name FROM system.databases WHERE name LIKE '%rebuild%'")
    assert left == []


def test_rows_that_were_lost_come_back_and_changed_ones_only_when_asked(system: System) -> None:
    before = system.contents()
    lost = before["groups"][0]["group_id"]
    system.clickhouse.command(
        f"ALTER TABLE groups DELETE WHERE group_id = '{lost}' SETTINGS mutations_sync = 1"
    )
    code, tables = system.rebuild("--stage", "credit")
    assert (code, tables["groups"]["added"]) == (0, 1)
    assert system.contents() == before
    system.clickhouse.command(
        "ALTER TABLE groups UPDATE mean = 77 WHERE state = 'final' SETTINGS mutations_sync = 1"
    )
    code, tables = system.rebuild("--stage", "credit")
    assert (code, tables["groups"]["changed"]) == (NO, GROUPS)
    assert system.contents() != before
    code, _ = system.rebuild("--stage", "credit", "--accept-differences")
    assert code == 0
    assert system.contents() == before


def _closed(contents: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for row in contents["episodes"] if row["state"] == "closed"]
