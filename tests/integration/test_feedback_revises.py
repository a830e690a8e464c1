"""Feedback given by command revises rewards and credit, in order, with the workers killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.sdk import Attempt, SdkConfig, Telemetry
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.cli.app import NO
from headrace.schemas import Call, Span, Start, new_span_id, new_ulid, response_id
from tests.support.environment import environment_of
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "feedback_revises"
STAGES = ("assemble", "credit")


class Workers:
    """The two stages as processes, and the command line beside them."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.directory = directory
        self.environment = environment_of(
            stack,
            HEADRACE_CLICKHOUSE_DATABASE=DATABASE,
            HEADRACE_CREDIT_RULE="reward-span:thumbs",
            HEADRACE_CREDIT_BASELINE="rloo",
            HEADRACE_RUN_DIRECTORY=directory,
            HEADRACE_DATA_DIRECTORY=directory / "data",
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *stages: str) -> None:
        for stage in stages:
            # Assemble in its own group, by which feedback judges how far it is.
            group = {} if stage == "assemble" else {"HEADRACE_GROUP": f"feedback.{stage}"}
            own = {"HEADRACE_WORKER": f"feedback-{stage}"} | group
            self.processes[stage] = start_stage(
                stage, {**self.environment, **own}, self.directory / f"{stage}.log"
            )

    def await_ready(self, stage: str) -> None:
        wait_until(lambda: self._is_ready(stage), f"{stage} being ready ({self.directory})")

    def _is_ready(self, stage: str) -> bool:
        process = self.processes[stage]
        if process.poll() is not None:
            self.start(stage)
        report = read_heartbeat(self.directory / f"feedback-{stage}.json")
        return report.get("pid") == self.processes[stage].pid and bool(report["ready"])

    def kill(self, *stages: str) -> None:
        for stage in stages:
            self.processes[stage].kill()
            self.processes[stage].wait()

    def feedback_begun(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "headrace.infra.cli", "feedback", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.directory, env=self.environment, stdout=pipe, stderr=pipe, text=True
        )

    def feedback(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.feedback_begun(*words)
        told, said = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, told, said)


@pytest.fixture
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    yield client
    client.close()


@pytest.fixture
def workers(stack: Stack, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(stack, tmp_path)
    yield made
    for process in made.processes.values():
        process.kill()
        process.wait()


def attempt(telemetry: Telemetry, rollout: str, group: list[str], thumbs: float) -> Span:
    """An episode of one call and one reward; its call."""
    facts = Start(group_id=group[0], group_size=len(group), group_rollouts=tuple(group), policy="p")
    one = Attempt(telemetry, rollout, "a", agent="solver", facts=facts)
    one.start()
    span_id = new_span_id()
    call = Span(
        rollout_id=rollout,
        attempt="a",
        span_id=span_id,
        kind="call",
        name="chat",
        started_at=1,
        ended_at=2,
        output="four",
        call=Call(
            model="m",
            policy="p",
            response_id=response_id(span_id),
            prompt_ids=np.arange(3, dtype="<u4"),
            sampled_ids=np.arange(2, dtype="<u4"),
            logprobs=np.zeros(2, dtype="<f4"),
            runs=((0, 2),),
            trainable=True,
            finish_reason="stop",
        ),
    )
    one.keep(call)
    one.reward("thumbs", thumbs)
    one.end("four")
    return call


def credited(clickhouse: ClickHouse, group: str) -> dict[str, Any]:
    rows = clickhouse.query_arrow(
        "SELECT rollout_id, reward, advantage FROM credits WHERE group_id = {group:String}",
        {"group": group},
    ).to_pylist()
    return {row["rollout_id"]: (row["reward"], row["advantage"]) for row in rows}


def test_feedback_revises_reward_and_credit_though_the_workers_die(
    stack: Stack, clickhouse: ClickHouse, workers: Workers
) -> None:
    first, second = group = [new_ulid(), new_ulid()]
    telemetry = Telemetry(SdkConfig(bootstrap=stack.bootstrap, registry_url=stack.registry_url))
    call = attempt(telemetry, first, group, 1.0)
    attempt(telemetry, second, group, 0.0)
    telemetry.close()
    workers.start(*STAGES)

    def until(rewards: tuple[float, float]) -> None:
        wanted = {
            first: (rewards[0], rewards[0] - rewards[1]),
            second: (rewards[1], rewards[1] - rewards[0]),
        }
        wait_until(
            lambda: credited(clickhouse, first) == wanted,
            f"{wanted}, not {credited(clickhouse, first)} ({workers.directory})",
        )

    until((1.0, 0.0))
    # Rows follow credits. What is on record needs no worker: without a row feedback would wait.
    of_group = {"group": first}
    on_record = "SELECT count() AS n FROM episodes FINAL WHERE group_id = {group:String}"
    wait_until(lambda: clickhouse.query(on_record, of_group) == [{"n": 2}], "their episodes' rows")
    # Given while nobody listens, sent twice under one id; the workers find it, and are killed.
    workers.kill(*STAGES)
    for _ in range(2):
        told = workers.feedback(
            f"{first}/a", "--name", "thumbs", "--value", "-1", "--id", "form-7", "--json"
        )
        assert told.returncode == 0, told.stderr
    given = json.loads(told.stdout)
    workers.start("assemble")
    workers.await_ready("assemble")
    workers.kill("assemble")
    workers.start(*STAGES)
    until((-1.0, 0.0))
    once = "SELECT count() AS n FROM spans FINAL WHERE span_id = {id:String}"
    wait_until(lambda: bool(clickhouse.query(once, {"id": given["id"]})[0]["n"]), "its row")
    assert clickhouse.query(once, {"id": given["id"]}) == [{"n": 1}]

    # The last one given counts; by the id of the answer, with the credit worker killed between.
    answer = call.call.response_id if call.call else ""
    assert workers.feedback(answer, "--name", "thumbs", "--value", "5").returncode == 0
    workers.kill("credit")
    assert workers.feedback(answer, "--name", "thumbs", "--value", "2").returncode == 0
    workers.start("credit")
    until((2.0, 0.0))

    # For the call alone: the episode keeps its reward, the call gets one.
    words = (answer, "--name", "thumbs", "--value", "0.5", "--call")
    assert workers.feedback(*words).returncode == 0
    wait_until(
        lambda: bool(
            clickhouse.query(
                "SELECT 1 FROM samples WHERE reward = 0.5 AND rollout_id = {rollout:String}",
                {"rollout": first},
            )
        ),
        "the reward of the call",
    )
    until((2.0, 0.0))

    # Of one that has just ended, and of one that nobody has assembled yet: it is waited for.
    telemetry = Telemetry(SdkConfig(bootstrap=stack.bootstrap, registry_url=stack.registry_url))
    third = new_ulid()
    attempt(telemetry, third, [third], 0.0)
    assert workers.feedback(f"{third}/a", "--name", "thumbs", "--value", "3").returncode == 0
    workers.kill("assemble")
    fourth = new_ulid()
    fresh = attempt(telemetry, fourth, [fourth], 0.0)
    telemetry.close()
    answer = fresh.call.response_id if fresh.call else ""
    waiting = [
        workers.feedback_begun(words, "--name", "thumbs", "--value", "4", "--id", "form-8")
        for words in (f"{fourth}/a", answer)
    ]
    workers.start("assemble")
    for process in waiting:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    rewards = (
        "SELECT reward_value FROM spans FINAL WHERE rollout_id = {r:String} AND kind = 'reward'"
    )
    wanted = {third: [0.0, 3.0], fourth: [0.0, 4.0]}

    def given_to(rollout: str) -> list[float]:
        rows = clickhouse.query_arrow(rewards, {"r": rollout}).to_pylist()
        return sorted(one["reward_value"] for one in rows)

    wait_until(
        lambda: {one: given_to(one) for one in wanted} == wanted,
        lambda: f"{wanted}, not {[given_to(one) for one in wanted]} ({workers.directory})",
    )

    unknown = workers.feedback("nobody/a", "--name", "thumbs", "--value", "1")
    assert (unknown.returncode, "no episode nobody/a" in unknown.stderr) == (NO, True)
