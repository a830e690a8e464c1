"""Task source and runner on the real broker and registry, with agents of every temper."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from headrace.connectors.kafka import (
    KafkaConfig,
    Outgoing,
    Registry,
    Tailer,
    Writer,
    consumer_settings,
    partitions_of,
)
from headrace.connectors.runner import Runner, RunnerConfig
from headrace.connectors.tasks import TaskItem, TaskSource, TaskSourceConfig
from headrace.infra.embedded import Stack
from headrace.schemas import (
    KINDS,
    STATUSES,
    Codec,
    Episode,
    MalformedRecord,
    Outcome,
    PolicyRecord,
    PolicyVersion,
    SpanColumns,
    Task,
    UnknownSchemaId,
    new_ulid,
    read_span_batch,
    to_avro,
)
from headrace.streams.assemble.build import build
from headrace.streams.assemble.columns import LoggedBatch, spans_of
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.core import Assembler
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.reward import Rule

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

WAIT_S = 90.0
TASKS, SPANS = "headrace.tasks", "headrace.spans"

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

def hang(task_input, *, base_url, api_key):
    threading.Event().wait()

def tool(task_input, *, base_url, api_key):
    attempt = current_attempt()
    with attempt.tool("add", task_input) as result:
        result.output = sum(task_input)
    attempt.reward("correct", 1.0)
    return result.output

def hang_once(task_input, *, base_url, api_key):
    marker = Path(task_input)
    if not marker.exists():
        marker.touch()
        threading.Event().wait()
    return "second"
"""


@dataclass
class Seen:
    """Spans of one attempt: (kind, name, status) and the texts that matter."""

    spans: list[tuple[str, str, str]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    result: str = ""
    task_input: str = ""
    producers: set[str] = field(default_factory=set)


class Watch:
    """What the topics say of some rollouts."""

    def __init__(self, stack: Stack) -> None:
        self._registry = Registry(stack.registry_url)
        self.codec = Codec(self._registry)
        self.kafka = KafkaConfig(bootstrap=stack.bootstrap)
        self._tailer = Tailer(self.kafka, [SPANS, TASKS, f"{TASKS}.dlq"], name="test.watch")
        self.attempts: dict[str, dict[str, Seen]] = defaultdict(lambda: defaultdict(Seen))
        self.tasks: list[dict[str, Any]] = []
        self.dead: list[bytes] = []
        self._batches: list[LoggedBatch] = []

    def until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S
        while not (self._tailer.caught_up and done()):
            assert time.monotonic() < end, {k: dict(v) for k, v in self.attempts.items()}
            for message in self._tailer.read(0.2):
                self._read(message)

    def ended(self, rollout: str) -> int:
        return sum(
            any(kind == "attempt.end" for kind, _, _ in seen.spans)
            for seen in self.attempts[rollout].values()
        )

    def episodes(self, rollout: str) -> list[Episode]:
        """The attempts at a rollout as the assemble stage sees them."""
        mine = [
            batch
            for batch in self._batches
            if any(episode["rollout_id"] == rollout for episode in batch.columns.episodes)
        ]
        folded = Assembler(AssembleConfig()).fold(spans_of(mine), spans_of([]), [])
        built = build(folded, most_text=1_000_000)
        return [one for one in built.episodes if one.rollout_id == rollout]

    def statuses(self, rollout: str) -> list[str]:
        """What these attempts are to their group when its time is over, first ones first."""
        groups = Groups(
            Rule(name="one", version="1", function=lambda _: 1.0), CreditMethod(), GroupPatience()
        )
        arrivals = [
            Arrival(partition=0, log_time=one.log_last, episode=one)
            for one in self.episodes(rollout)
        ]
        groups.advance(0, 1 << 60)
        groups.missing(arrivals)
        groups.fold(arrivals)
        (change,) = groups.settle()
        assert change.credits is not None
        return [member.status for member in change.credits.members]

    def close(self) -> None:
        self._tailer.close()
        self._registry.close()

    def _read(self, message: Any) -> None:
        if message.topic() == f"{TASKS}.dlq":
            self.dead.append(message.value())
        elif message.topic() == TASKS:
            with suppress(MalformedRecord):
                self.tasks.append(self.codec.decode(TASKS, message.value()))
        else:
            with suppress(MalformedRecord, UnknownSchemaId):  # other tests write bad records
                batch = read_span_batch(self.codec.decode(SPANS, message.value()))
                self._read_spans(batch)
                self._batches.append(
                    LoggedBatch(
                        columns=batch,
                        partition=message.partition(),
                        offset=message.offset(),
                        log_time=message.timestamp()[1],
                    )
                )

    def _read_spans(self, batch: SpanColumns) -> None:
        for row in range(batch.n):
            episode = batch.episodes[batch.episode[row]]
            seen = self.attempts[episode["rollout_id"]][episode["attempt"]]
            kind = KINDS[batch.kind[row]]
            seen.spans.append((kind, batch.strings[batch.name[row]], STATUSES[batch.status[row]]))
            seen.producers.add(batch.producer)
            cut = slice(batch.output.offsets[row], batch.output.offsets[row + 1])
            if kind == "attempt.end":
                seen.result = batch.output.blob[cut].decode()
            if kind == "attempt.start":
                cut = slice(batch.input.offsets[row], batch.input.offsets[row + 1])
                seen.task_input = batch.input.blob[cut].decode()
                seen.starts += [start for start in batch.starts if start["row"] == row]


@pytest.fixture
def watch(stack: Stack) -> Iterator[Watch]:
    watching = Watch(stack)
    yield watching
    watching.close()


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
        bootstrap=stack.bootstrap,
        registry_url=stack.registry_url,
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
    for seen in watch.attempts[wanted["die"].rollout_id].values():
        assert seen.spans[1:] == [
            ("event", "worker_died", "ok"),
            ("attempt.end", f"{agents}:die", "error"),
        ]
    assert watch.statuses(wanted["die"].rollout_id) == ["infrastructure"] * 2
    assert watch.statuses(wanted["fail"].rollout_id) == ["used"]
    assert watch.statuses(wanted["hang"].rollout_id) == ["used"]
    (expired,) = watch.attempts[late.rollout_id].values()
    assert ("event", "never_run", "ok") in expired.spans
    assert watch.statuses(late.rollout_id) == ["infrastructure"], "no agent had its chance"


def test_a_task_under_a_runner_that_stops_is_run_again(
    stack: Stack, watch: Watch, agents: str, tmp_path: Path
) -> None:
    group = group_at_the_end(stack)
    marker = tmp_path / "ran"
    task = Task(rollout_id=new_ulid(), agent=f"{agents}:hang_once", input=json.dumps(str(marker)))
    send(watch, [task])
    config = RunnerConfig(
        bootstrap=stack.bootstrap,
        registry_url=stack.registry_url,
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


def test_the_source_paces_itself_by_versions_and_outcomes(stack: Stack, watch: Watch) -> None:
    policy = f"p-{new_ulid()}"
    config = TaskSourceConfig(
        bootstrap=stack.bootstrap,
        registry_url=stack.registry_url,
        policy=policy,
        agent="m:f",
        group_size=2,
        rollouts_per_step=4,
        max_staleness=1,
    )
    writer = Writer(watch.kafka)

    def publish(version: int) -> None:
        record = PolicyRecord(version=PolicyVersion(policy=policy, version=version))
        value = watch.codec.encode("headrace.policies", to_avro(record))
        key = f"{policy}/version/{version}"
        writer.send([Outgoing(topic="headrace.policies", key=key, value=value)])

    def settle(rollouts: list[str], outcome: str) -> None:
        for rollout in rollouts:
            record = Outcome(rollout_id=rollout, policy=policy, outcome=outcome, trainer="main")
            value = watch.codec.encode("headrace.outcomes", to_avro(record))
            writer.send([Outgoing(topic="headrace.outcomes", key=rollout, value=value)])

    def asked() -> list[dict[str, Any]]:
        return [t for t in watch.tasks if t["policy"] == policy and t["split"] == "train"]

    def items() -> Iterator[TaskItem]:
        for number in range(1000):
            yield TaskItem(input={"q": number}, expected=number)

    @contextmanager
    def sourcing() -> Iterator[TaskSource]:
        source, stop = TaskSource(config), threading.Event()
        thread = threading.Thread(target=source.run, args=(items(), stop))
        thread.start()
        try:
            yield source
        finally:
            stop.set()
            thread.join(WAIT_S)
            source.close()

    with sourcing() as source:
        publish(0)
        watch.until(lambda: len(asked()) == 8)  # (1 + 0 + 1) * 4
        groups = defaultdict(list)
        for task in asked():
            groups[task["group_id"]].append(task)
            assert task["input"] == json.dumps({"q": int(task["expected"])})
            assert task["rollout_id"] in task["group_rollouts"]
            assert (task["group_size"], task["version"]) == (2, -1)
            assert task["deadline"] > time.time() * 1000
        assert {len(tasks) for tasks in groups.values()} == {2}
        # A group whose agents all crashed is replaced; a trained step waits for its version.
        first = [task["rollout_id"] for task in asked()]
        settle(first[:2], "dropped")
        watch.until(lambda: len(asked()) == 10)
        settle(first[2:6], "trained")
        publish(1)
        watch.until(lambda: len(asked()) == 14)
        evaluated = source.send_eval([TaskItem(input={"q": "?"}, expected=1)] * 3, 1)
        watch.until(
            lambda: sum(t["split"] == "eval" and t["policy"] == policy for t in watch.tasks) == 3
        )
    pinned = {t["rollout_id"]: t for t in watch.tasks if t["split"] == "eval"}
    assert [pinned[rollout]["version"] for rollout in evaluated] == [1, 1, 1]
    assert {pinned[rollout]["group_size"] for rollout in evaluated} == {1}

    # A source that starts again knows what runs already, and asks for no more.
    with sourcing() as again:
        everything = [task["rollout_id"] for task in asked()]
        settle(everything[6:8], "dropped")
        watch.until(lambda: len(asked()) == 16)
        assert again.admission.accepted == 4
        assert again.admission.running == 8
    writer.close()
