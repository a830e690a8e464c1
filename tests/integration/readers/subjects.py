"""Who reads the log without being a stage, as their conformance suite sees them."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace.connectors.gateway.policy import log as policy_log
from headrace.connectors.kafka import KafkaAccess, Outgoing, PoisonSettings, RegistryAccess
from headrace.connectors.runner import CommandAgent, RunnerConfig
from headrace.connectors.tasks import TaskItem, TaskSource, TaskSourceConfig
from headrace.connectors.tasks import source as task_source
from headrace.schemas import Codec, PolicyRecord, PolicyVersion, Task, to_avro
from tests.connectors.runner.live import running

Heard = Callable[[], int]
"""How many good records a reader has taken."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a reader is started with."""

    kafka: KafkaAccess
    registry: str
    project: str
    group: str
    limit: PoisonSettings
    directory: Path


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One of them. `begin` starts it; it is stopped when the block ends."""

    name: str
    stage: str
    topic: str
    reads: Sequence[str]
    make: Callable[[Codec, str, int, int], Outgoing]
    """The record of a number, in a partition."""
    begin: Callable[[Bound], AbstractContextManager[Heard]]
    forgets: bool = False
    """Whether its offsets are committed, so that it takes nothing twice."""


def _version(codec: Codec, project: str, number: int, partition: int) -> Outgoing:
    record = PolicyRecord(version=PolicyVersion(policy=project, version=number))
    topic = "headrace.policies"
    value = codec.encode(topic, to_avro(record))
    return Outgoing(topic=topic, key=f"{project}/{number}", value=value, partition=partition)


def _task(codec: Codec, project: str, number: int, partition: int) -> Outgoing:
    topic = "headrace.tasks"
    task = Task(project=project, rollout_id=f"{project}-{number}", group_id="g", input="1")
    return Outgoing(topic=topic, value=codec.encode(topic, to_avro(task)), partition=partition)


@contextmanager
def _gateway(bound: Bound) -> Iterator[Heard]:
    loop = asyncio.new_event_loop()
    looping = threading.Thread(target=loop.run_forever)
    looping.start()
    versions: set[int] = set()

    def take(records: Sequence[PolicyRecord]) -> None:
        versions.update(
            one.version.version
            for one in records
            if one.version is not None and one.version.policy == bound.project
        )

    log = policy_log.PolicyLog(
        bound.kafka.client("test"),
        bound.registry,
        limit=bound.limit,
        on_start=take,
        on_records=take,
        loop=loop,
    )
    thread = threading.Thread(target=log.run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy_log, "GROUP", bound.group)
        thread.start()
        try:
            yield lambda: len(versions)
        finally:
            log.stop()
            thread.join()
            loop.call_soon_threadsafe(loop.stop)
            looping.join()
            loop.close()


@contextmanager
def _source(bound: Bound) -> Iterator[Heard]:
    config = TaskSourceConfig(
        kafka=bound.kafka,
        registry=RegistryAccess(url=bound.registry),
        policy=bound.project,
        poison=bound.limit,
        group_size=1,
        rollouts_per_step=1,
        max_staleness=0,
    )
    source, stop = TaskSource(config), threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_source, "GROUP", bound.group)
        draw = itertools.repeat(TaskItem(input="?"))
        thread = threading.Thread(target=source.run, args=(draw, stop))
        thread.start()
        try:
            yield lambda: source.pace.version + 1
        finally:
            stop.set()
            thread.join()
            source.close()


@contextmanager
def _runner(bound: Bound) -> Iterator[Heard]:
    config = RunnerConfig(
        kafka=bound.kafka,
        registry=RegistryAccess(url=bound.registry),
        poison=bound.limit,
        gateway_url="http://gateway:1",
        group=bound.group,
        command=CommandAgent(words=("true",)),
        journals=bound.directory / "journals",
        spool_directory=bound.directory / "spool",
    )
    with running(config) as runner:
        yield lambda: runner.stats.ok


READERS = (
    Reader(
        name="gateway",
        stage="gateway",
        topic="headrace.policies",
        reads=("headrace.policies",),
        make=_version,
        begin=_gateway,
    ),
    Reader(
        name="task-source",
        stage="task source",
        topic="headrace.policies",
        reads=("headrace.policies", "headrace.tasks", "headrace.outcomes"),
        make=_version,
        begin=_source,
    ),
    Reader(
        name="runner",
        stage="runner",
        topic="headrace.tasks",
        reads=("headrace.tasks",),
        make=_task,
        begin=_runner,
        forgets=True,
    ),
)
