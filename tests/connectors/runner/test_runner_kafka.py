"""The runner on the real broker and registry, with agents of every temper."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.connectors.kafka import (
    KafkaAccess,
    Outgoing,
    RegistryAccess,
    Writer,
)
from headrace.connectors.runner import CommandAgent, RunnerConfig
from headrace.infra.embedded import Stack
from headrace.schemas import Task, new_ulid
from tests.connectors.runner.live import group_at_the_end, lag, running, send
from tests.support.watching import TASKS, Watch

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def test_every_kind_of_agent_leaves_a_closed_episode(
    stack: Stack, watch: Watch, agents: str, tmp_path: Path
) -> None:
    group = group_at_the_end(stack)
    wanted = {
        name: Task(
            rollout_id=new_ulid(),
            group_id="g1",
            group_size=6,
            policy="p",
            version=3 if name == "ok" else -1,
            agent=f"{agents}:{name}",
            input="[1, 2]",
            expected="3",
        )
        for name in ("ok", "fail", "die", "hang", "tool", "missing")
    }
    hang = wanted.pop("hang")
    late = Task(rollout_id=new_ulid(), agent=f"{agents}:ok", deadline=1)
    poison = b"\0\0\0\0\1" + new_ulid().encode()
    send(watch, [*wanted.values(), late])
    writer = Writer(watch.kafka)
    writer.send([Outgoing(topic=TASKS, value=poison, partition=0)])
    writer.close()

    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        gateway_url="http://gateway:1",
        api_key="secret",
        group=group,
        processes=2,
        concurrency=1,  # an agent that kills its process takes its neighbours along
        spool_directory=tmp_path / "spool",
    )
    expected_ends = {task.rollout_id: 2 if n == "die" else 1 for n, task in wanted.items()}
    expected_ends[late.rollout_id] = 1

    def ended() -> bool:
        return all(watch.ended(rollout) >= ends for rollout, ends in expected_ends.items())

    with running(config):
        watch.until(lambda: ended() and poison in watch.dead)
        # Its time begins when nothing else is to be done: its agent is to begin before it is over.
        wanted["hang"] = replace(hang, deadline=int((time.time() + 8) * 1000))
        expected_ends[hang.rollout_id] = 1
        send(watch, [wanted["hang"]])
        watch.until(ended)
    for rollout, ends in expected_ends.items():
        assert watch.ended(rollout) == ends
    assert lag(stack, group) == 0

    def spans(name: str) -> list[tuple[str, str, str]]:
        (seen,) = watch.attempts[wanted[name].rollout_id].values()
        return seen.spans

    (attempt, seen), *_ = watch.attempts[wanted["ok"].rollout_id].items()
    task = wanted["ok"]
    assert json.loads(seen.result) == {
        "input": [1, 2],
        "url": f"http://gateway:1/rollout/{task.rollout_id}/attempt/{attempt}/v1",
        "key": "secret",
        "model": "p@3",
    }
    assert seen.task_input == "[1, 2]"
    (start,) = seen.starts
    assert (start["group_id"], start["group_size"], start["expected"]) == ("g1", 6, "3")
    assert spans("ok")[-1] == ("attempt.end", f"{agents}:ok", "ok")
    assert [kind for kind, _, _ in spans("fail")] == ["attempt.start", "exception", "attempt.end"]
    assert spans("fail")[1:] == [
        ("exception", "ValueError", "error"),
        ("attempt.end", f"{agents}:fail", "error"),
    ]
    assert spans("missing")[1] == ("exception", "AgentUnusable", "error")
    assert spans("hang")[1:] == [
        ("event", "deadline", "ok"),
        ("attempt.end", f"{agents}:hang", "error"),
    ]
    # What a tool recorded in the worker is there before the end that the runner wrote.
    assert [kind for kind, _, _ in spans("tool")] == [
        *("attempt.start", "tool", "reward", "attempt.end")
    ]
    (tool,) = watch.attempts[wanted["tool"].rollout_id].values()
    assert len(tool.producers) == 2
    *_, last = watch.attempts[wanted["die"].rollout_id].values()
    for seen in watch.attempts[wanted["die"].rollout_id].values():
        assert seen.spans[1:] == [
            ("event", "worker_died", "ok"),
            *([] if seen is last else [("event", "retried", "ok")]),
            ("attempt.end", f"{agents}:die", "error"),
        ]
    assert watch.statuses(wanted["die"].rollout_id) == ["infrastructure"] * 2
    assert watch.statuses(wanted["fail"].rollout_id) == ["used"]
    assert watch.statuses(wanted["hang"].rollout_id) == ["used"]
    (expired,) = watch.attempts[late.rollout_id].values()
    assert ("event", "never_run", "ok") in expired.spans
    assert watch.statuses(late.rollout_id) == ["infrastructure"], "no agent had its chance"


def test_an_agent_that_always_fails_is_given_a_rest_until_one_is_ok(
    stack: Stack, watch: Watch, agents: str, tmp_path: Path
) -> None:
    group = group_at_the_end(stack)
    mended = tmp_path / "mended"
    tasks = [
        Task(rollout_id=new_ulid(), agent=f"{agents}:until_mended", input=json.dumps(str(mended)))
        for _ in range(30)
    ]
    send(watch, tasks)
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        gateway_url="http://gateway:1",
        group=group,
        processes=1,
        concurrency=2,
        pause_after=4,
        spool_directory=tmp_path / "spool",
    )
    with running(config) as runner:
        watch.until(lambda: runner.resting and not runner.running)
        assert runner.stats.failed <= 4 + 2, "those that ran beside the last one"
        mended.touch()
        watch.until(lambda: all(watch.ended(task.rollout_id) for task in tasks))
        assert not runner.resting
    assert runner.stats.ok >= 30 - 6


def test_a_task_under_a_runner_that_stops_is_run_again(
    stack: Stack, watch: Watch, agents: str, tmp_path: Path
) -> None:
    group = group_at_the_end(stack)
    marker = tmp_path / "ran"
    task = Task(rollout_id=new_ulid(), agent=f"{agents}:hang_once", input=json.dumps(str(marker)))
    send(watch, [task])
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        gateway_url="http://gateway:1",
        group=group,
        processes=1,
        drain_s=0.1,
    )
    with running(config) as runner:
        watch.until(marker.exists)
    assert runner.stats.stopped == 1
    assert lag(stack, group) == 1
    with running(config):
        watch.until(lambda: watch.ended(task.rollout_id) == 2)
    assert lag(stack, group) == 0
    first, second = watch.attempts[task.rollout_id].values()
    assert ("event", "runner_stopped", "ok") in first.spans
    assert (first.spans[-1][2], second.spans[-1][2]) == ("error", "ok")
    assert second.result == '"second"'
    assert watch.statuses(task.rollout_id) == ["infrastructure", "used"]


COMMAND = """
import sys
from pathlib import Path
from headrace.connectors.sdk import reward, tool

@tool
def add(a, b):
    return a + b

marker = Path(sys.argv[1])
if not marker.exists():
    marker.touch()
    add(1, 1)
    import signal; signal.pause()
add(2, 3)
reward(1.0, name="correct")
print("five")
"""


def test_a_command_is_an_agent_and_its_attempts_stay_apart(
    stack: Stack, watch: Watch, tmp_path: Path
) -> None:
    group = group_at_the_end(stack)
    script, marker = tmp_path / "agent.py", tmp_path / "ran"
    script.write_text(COMMAND)
    task = Task(rollout_id=new_ulid(), input=json.dumps(str(marker)), expected='"five"')
    send(watch, [task])
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        gateway_url="http://127.0.0.1:1",
        group=group,
        command=CommandAgent(words=(sys.executable, str(script), "{input}")),
        journals=tmp_path / "attempts",
        concurrency=2,
        drain_s=0.1,
        spool_directory=tmp_path / "spool",
    )
    with running(config):
        watch.until(marker.exists)
    assert lag(stack, group) == 1, "its task is redelivered"
    with running(config):
        watch.until(lambda: watch.ended(task.rollout_id) == 2)
    first, second = watch.attempts[task.rollout_id].values()
    assert ("event", "runner_stopped", "ok") in first.spans
    assert [kind for kind, _, _ in second.spans] == [
        *("attempt.start", "tool", "reward", "attempt.end")
    ]
    assert second.result == '"five"'
    assert len(second.producers) == 1
    assert watch.statuses(task.rollout_id) == ["infrastructure", "used"]
    assert list((tmp_path / "attempts").iterdir()) == []
