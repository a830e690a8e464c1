"""Tasks that are taken back, delivered twice, tried again, or left behind: on the real broker."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace.connectors.kafka import (
    KafkaAccess,
    RegistryAccess,
)
from headrace.connectors.runner import RunnerConfig
from headrace.connectors.tasks import cancel_tasks
from headrace.infra.embedded import Stack
from headrace.schemas import Task, new_ulid
from tests.connectors.runner.live import group_at_the_end, lag, running, send
from tests.support.waiting import wait_until
from tests.support.watching import WAIT_S, Watch

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def test_a_task_that_is_taken_back_ends_whether_that_or_its_start_comes_first(
    stack: Stack, watch: Watch, agents: str, tmp_path: Path
) -> None:
    """Agents that never end by themselves, on tasks without deadlines: only this ends them."""
    group = group_at_the_end(stack)
    tasks = [
        Task(
            rollout_id=new_ulid(),
            group_id="g",
            agent=f"{agents}:begin_and_hang",
            input=json.dumps(str(tmp_path / f"begun-{number}")),
        )
        for number in range(24)
    ]
    waiting, raced = tasks[:8], tasks[8:]
    other = Task(rollout_id=new_ulid(), agent=f"{agents}:ok", input="1")
    access = RegistryAccess(url=stack.registry_url)
    send(watch, waiting)
    cancel_tasks(watch.kafka, access, waiting, "before any runner")
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=access,
        gateway_url="http://gateway:1",
        group=group,
        processes=2,
        concurrency=3,
        spool_directory=tmp_path / "spool",
    )
    with running(config) as runner:
        for number, task in enumerate(raced, len(waiting)):
            send(watch, [task])
            if number == len(waiting):  # this one does run
                wait_until((tmp_path / f"begun-{number}").exists, "the first agent", WAIT_S)
            elif number % 2:  # some get as far as to run
                watch.until(lambda: runner.running > 0)
            cancel_tasks(watch.kafka, access, [task], "wrong tasks")
        send(watch, [other])
        watch.until(lambda: all(watch.ended(task.rollout_id) for task in [*tasks, other]))
    assert (runner.stats.cancelled, runner.stats.ok, runner.running) == (24, 1, 0)
    assert lag(stack, group) == 0
    for number, task in enumerate(tasks):
        (seen,) = watch.attempts[task.rollout_id].values()
        assert [name for kind, name, _ in seen.spans if kind == "event"] == ["cancelled"]
        assert watch.statuses(task.rollout_id) == ["cancelled"]
        assert number >= 8 or not (tmp_path / f"begun-{number}").exists()


def test_attempts_at_one_rollout_never_share_an_episode(
    stack: Stack, watch: Watch, agents: str, tmp_path: Path
) -> None:
    """A task that was delivered twice, and one that was tried again after its agent failed."""
    group = group_at_the_end(stack)
    twice = Task(rollout_id=new_ulid(), agent=f"{agents}:tool", input="[1, 2]")
    marker = tmp_path / "failed"
    again = Task(rollout_id=new_ulid(), agent=f"{agents}:fail_once", input=json.dumps(str(marker)))
    send(watch, [twice, again, twice])
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        gateway_url="http://gateway:1",
        group=group,
        processes=1,
        retry="failures",
        retry_first_s=0.1,
        spool_directory=tmp_path / "spool",
    )
    with running(config) as runner:
        watch.until(lambda: watch.ended(twice.rollout_id) + watch.ended(again.rollout_id) == 4)
    assert (runner.stats.ok, runner.stats.failed, runner.stats.retried) == (3, 1, 1)
    assert lag(stack, group) == 0
    for seen in watch.attempts[twice.rollout_id].values():
        assert [kind for kind, _, _ in seen.spans] == [
            *("attempt.start", "tool", "reward", "attempt.end")
        ]
    assert sorted(watch.statuses(twice.rollout_id)) == ["superseded", "used"]
    first, second = watch.attempts[again.rollout_id].values()
    assert [name for _, name, _ in first.spans[1:3]] == ["ValueError", "retried"]
    assert second.result == '"second"'
    assert watch.statuses(again.rollout_id) == ["infrastructure", "used"]


def test_a_task_that_waits_for_another_attempt_outlives_its_runner(
    stack: Stack, watch: Watch, agents: str, tmp_path: Path
) -> None:
    group = group_at_the_end(stack)
    marker = tmp_path / "failed"
    task = Task(rollout_id=new_ulid(), agent=f"{agents}:fail_once", input=json.dumps(str(marker)))
    send(watch, [task])
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        gateway_url="http://gateway:1",
        group=group,
        processes=1,
        retry="failures",
        retry_first_s=3_000.0,
        retry_longest_s=3_000.0,
        spool_directory=tmp_path / "spool",
    )
    with running(config) as runner:
        watch.until(lambda: runner.waiting == 1 and not runner.running)
    assert lag(stack, group) == 1
    with running(config):
        watch.until(lambda: watch.ended(task.rollout_id) == 2)
    assert lag(stack, group) == 0
    assert watch.statuses(task.rollout_id) == ["infrastructure", "used"]


KILLED = """
import sys, threading
from pathlib import Path
from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.runner import Runner, RunnerConfig

bootstrap, registry, group, folder, isolate = sys.argv[1:]
if __name__ == "__main__":
    Runner(
        RunnerConfig(
            kafka=KafkaAccess(bootstrap=bootstrap),
            registry=RegistryAccess(url=registry),
            gateway_url="http://gateway:1",
            group=group,
            processes=1,
            isolate=isolate == "True",
            spool_directory=Path(folder) / "killed",
            scratch=Path(folder) / "scratch",
        )
    ).run(threading.Event())
"""


def run_and_kill(
    stack: Stack, group: str, marker: Path, tmp_path: Path, *, isolate: bool = False
) -> None:
    """Start a runner, and kill it when its agent has written its process id to the marker."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    where = [stack.bootstrap, stack.registry_url, group, str(tmp_path), str(isolate)]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    killed = subprocess.Popen([sys.executable, str(script), *where], env=environment)
    try:
        wait_until(lambda: marker.exists() and marker.read_text() != "", "the agent")
    finally:
        killed.kill()
        killed.wait()
    wait_until(lambda: not Path(f"/proc/{marker.read_text()}").exists(), "the end of its agent")


@pytest.mark.parametrize("isolate", [False, True])
def test_a_runner_that_is_killed_loses_no_task_and_leaves_no_agent(
    stack: Stack, watch: Watch, agents: str, tmp_path: Path, isolate: bool
) -> None:
    group = group_at_the_end(stack)
    marker = tmp_path / "ran"
    task = Task(
        rollout_id=new_ulid(),
        agent=f"{agents}:hang_once",
        input=json.dumps(str(marker)),
        deadline=int((time.time() + 600) * 1000),
    )
    send(watch, [task])
    run_and_kill(stack, group, marker, tmp_path, isolate=isolate)
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        gateway_url="http://gateway:1",
        group=group,
        processes=1,
        isolate=isolate,
        spool_directory=tmp_path / "spool",
        scratch=tmp_path / "scratch",
    )
    with running(config):
        watch.until(lambda: watch.ended(task.rollout_id) == 1)
    assert lag(stack, group) == 0
    first, second = watch.attempts[task.rollout_id].values()
    assert [kind for kind, _, _ in first.spans] == ["attempt.start"]
    assert [kind for kind, _, _ in second.spans] == ["attempt.start", "attempt.end"]
    assert second.result == '"second"'
    assert watch.statuses(task.rollout_id) == ["used"]
    assert not isolate or list((tmp_path / "scratch").iterdir()) == []


def test_a_task_that_is_cancelled_while_its_runner_is_dead_is_not_run_again(
    stack: Stack, watch: Watch, agents: str, tmp_path: Path
) -> None:
    group = group_at_the_end(stack)
    marker = tmp_path / "ran"
    task = Task(
        rollout_id=new_ulid(),
        agent=f"{agents}:hang_once",
        input=json.dumps(str(marker)),
        deadline=int((time.time() + 600) * 1000),
    )
    send(watch, [task])
    run_and_kill(stack, group, marker, tmp_path)
    cancel_tasks(watch.kafka, RegistryAccess(url=stack.registry_url), [task], "nobody wants it")
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        gateway_url="http://gateway:1",
        group=group,
        processes=1,
        spool_directory=tmp_path / "spool",
    )
    with running(config) as runner:
        wait_until(lambda: lag(stack, group) == 0, "both records to be done with")
        assert (runner.stats.cancelled, runner.stats.ok) == (1, 0)
    watch.until(lambda: watch.ended(task.rollout_id) == 1)
    first, second = watch.attempts[task.rollout_id].values()
    assert [kind for kind, _, _ in first.spans] == ["attempt.start"]
    assert ("event", "cancelled", "ok") in second.spans
    assert watch.statuses(task.rollout_id) == ["cancelled"]
