"""The runner on the real broker and registry, with agents of every temper."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from headrace.connectors.kafka import (
    KafkaAccess,
    KafkaConfig,
    Outgoing,
    RegistryAccess,
    Writer,
    consumer_settings,
    partitions_of,
)
from headrace.connectors.runner import CommandAgent, Runner, RunnerConfig
from headrace.connectors.tasks import cancel_tasks
from headrace.infra.embedded import Stack
from headrace.schemas import Task, new_ulid, to_avro
from tests.support.waiting import wait_until
from tests.support.watching import TASKS, WAIT_S, Watch

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


AGENTS = """
import os, threading
from pathlib import Path
from headrace.connectors.sdk import current_attempt

def ok(task_input, *, base_url, api_key, model="own"):
    return {"input": task_input, "url": base_url, "key": api_key, "model": model}

def fail(task_input, *, base_url, api_key):
    raise ValueError("no idea")

def die(task_input, *, base_url, api_key):
    os._exit(9)

def until_mended(task_input, *, base_url, api_key):
    if not Path(task_input).exists():
        raise RuntimeError("not mended")

def begin_and_hang(task_input, *, base_url, api_key):
    Path(task_input).touch()
    while True:
        threading.Event().wait(0.05)

def hang(task_input, *, base_url, api_key):
    threading.Event().wait()

def tool(task_input, *, base_url, api_key):
    attempt = current_attempt()
    with attempt.tool("add", task_input) as result:
        result.output = sum(task_input)
    attempt.reward("correct", 1.0)
    return result.output

def fail_once(task_input, *, base_url, api_key):
    marker = Path(task_input)
    if not marker.exists():
        marker.touch()
        raise ValueError("not yet")
    return "second"

def hang_once(task_input, *, base_url, api_key):
    marker = Path(task_input)
    if not marker.exists():
        marker.write_text(str(os.getpid()))
        threading.Event().wait()
    return "second"
"""


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"live_agents_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(AGENTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def group_at_the_end(stack: Stack) -> str:
    """A consumer group that begins behind the tasks of other tests."""
    group = f"test.{new_ulid()}"
    config = KafkaConfig(bootstrap=stack.bootstrap)
    consumer = Consumer(consumer_settings(config, group=group))
    ends = []
    for partition in range(partitions_of(config, TASKS)):
        _, high = consumer.get_watermark_offsets(TopicPartition(TASKS, partition))
        ends.append(TopicPartition(TASKS, partition, high))
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()
    return group


def lag(stack: Stack, group: str) -> int:
    config = KafkaConfig(bootstrap=stack.bootstrap)
    consumer = Consumer(consumer_settings(config, group=group))
    parts = [TopicPartition(TASKS, p) for p in range(partitions_of(config, TASKS))]
    behind = 0
    for part in consumer.committed(parts):
        low, high = consumer.get_watermark_offsets(part)
        behind += high - max(part.offset, low)
    consumer.close()
    return behind


def send(watch: Watch, tasks: list[Task]) -> None:
    writer = Writer(watch.kafka)
    writer.send(
        [
            Outgoing(topic=TASKS, key=t.rollout_id, value=watch.codec.encode(TASKS, to_avro(t)))
            for t in tasks
        ]
    )
    writer.close()


@contextmanager
def running(config: RunnerConfig) -> Iterator[Runner]:
    runner = Runner(config)
    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            runner.run(stop)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield runner
    finally:
        stop.set()
        thread.join(WAIT_S)
    assert not failure
    assert not thread.is_alive()


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
            deadline=int((time.time() + 10) * 1000) if name == "hang" else 0,
        )
        for name in ("ok", "fail", "die", "hang", "tool", "missing")
    }
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
    with running(config):
        watch.until(
            lambda: (
                all(watch.ended(rollout) >= ends for rollout, ends in expected_ends.items())
                and poison in watch.dead
            )
        )
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
        for number, task in enumerate(raced):
            send(watch, [task])
            if number % 2:  # some get as far as to run
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
    assert any((tmp_path / f"begun-{number}").exists() for number in range(8, 24))


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
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    where = [stack.bootstrap, stack.registry_url, group, str(tmp_path), str(isolate)]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    killed = subprocess.Popen([sys.executable, str(script), *where], env=environment)
    try:
        watch.until(lambda: marker.exists() and marker.read_text() != "")
    finally:
        killed.kill()
        killed.wait()
    wait_until(lambda: not Path(f"/proc/{marker.read_text()}").exists(), "the end of its agent")
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


COMMAND = """
import os, sys
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
