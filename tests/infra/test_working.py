"""What `headrace work` says: in a line, and in JSON."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.runner import Ended, RunnerStats
from headrace.connectors.runner.retries import How
from headrace.infra.terminal.working import Events, progress


@dataclass
class Worker:
    stats: RunnerStats = field(default_factory=RunnerStats)
    running: int = 0
    waiting: int = 0
    away: bool = False
    resting: bool = False
    last_failure: str = ""
    next_try_s: float = 0.0
    halted: dict[tuple[str, int], object] = field(default_factory=dict)


def test_a_runner_without_work_waits_for_tasks() -> None:
    assert progress(Worker(), stopping=False) == "attempts: 0 ok; 0 running; waiting for tasks"
    assert "waiting" not in progress(Worker(running=1), stopping=False)


def test_failures_and_what_is_to_be_tried_again_are_told() -> None:
    worker = Worker(
        stats=RunnerStats(ok=3, failed=2, cancelled=1, retried=1),
        running=4,
        waiting=1,
        last_failure="ValueError: no idea",
    )
    assert progress(worker, stopping=False) == (
        "attempts: 3 ok, 2 failed, 1 cancelled, 1 tried again; 4 running; 1 to be tried again; "
        "last failure: ValueError: no idea"
    )


def test_a_halted_partition_is_told_beside_what_goes_on() -> None:
    worker = Worker(running=1, halted={("headrace.tasks", 3): "poison"})
    assert progress(worker, stopping=False) == (
        "attempts: 0 ok; 1 running; halted: headrace.tasks/3 (`headrace status` says why)"
    )


@pytest.mark.parametrize(
    ("facts", "stopping", "told"),
    [
        ({"resting": True, "next_try_s": 5.2}, False, "paused: every attempt fails; one is tried"),
        ({"away": True}, False, "waiting for Kafka"),
        ({"away": True}, True, "stopping"),
    ],
)
def test_why_nothing_starts_is_told(facts: dict[str, Any], stopping: bool, told: str) -> None:
    assert told in progress(Worker(**facts), stopping=stopping)


def test_each_end_and_each_change_of_a_pause_is_one_json_object() -> None:
    lines: list[str] = []
    events, worker = Events(lines.append), Worker()
    events.turn(worker, stopping=False)
    events.ended(
        Ended(how=How.FAILED, rollout_id="r", attempt="a", agent="m:f", why="no\nidea", again_s=1.5)
    )
    worker.resting, worker.last_failure, worker.next_try_s = True, "no idea", 5.0
    for _ in range(3):
        events.turn(worker, stopping=False)
    worker.resting = False
    events.turn(worker, stopping=False)
    worker.stats.failed, worker.running = 1, 2
    events.turn(worker, stopping=True)
    events.over(worker)
    ended, paused, resumed, stopping, stopped = map(json.loads, lines)
    assert ended == {
        "event": "ended",
        "how": "failed",
        "rollout_id": "r",
        "attempt": "a",
        "agent": "m:f",
        "why": "no\nidea",
        "limit": "",
        "seconds": 0.0,
        "again_s": 1.5,
    }
    assert paused == {
        "event": "paused",
        "why": "paused: every attempt fails",
        "last_failure": "no idea",
        "next_try_s": 5.0,
    }
    assert resumed == {"event": "resumed"}
    assert stopping == {"event": "stopping", "running": 2}
    assert (stopped["event"], stopped["failed"]) == ("stopped", 1)


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_without_kafka_it_says_that_it_waits_and_ends_when_told(tmp_path: Path) -> None:
    (tmp_path / "own_agent.py").write_text("def run(task_input, *, base_url, api_key): pass\n")
    environment = os.environ | {"HEADRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "headrace.infra.cli", "work", "--json"]
    process = subprocess.Popen(
        [*command, "--agent", "own_agent:run"],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["why"] == "waiting for Kafka"
        process.send_signal(signal.SIGTERM)
        rest = [json.loads(line) for line in process.stdout]
    finally:
        process.kill()
        process.communicate()
    # It tells that it is stopping if anything is left to wait for.
    assert [one["event"] for one in rest if one["event"] != "stopping"] == ["stopped"]
    assert rest[-1]["ok"] == 0
