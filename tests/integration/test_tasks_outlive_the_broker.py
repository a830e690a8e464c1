"""New tasks keep coming though the broker dies under the trainer's commits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from headrace.connectors.kafka import KafkaAccess, Patience, RegistryAccess
from headrace.connectors.tasks import TaskItem, TaskSource, TaskSourceConfig
from headrace.schemas import Outcome, PolicyVersion, new_ulid
from headrace.trainer import publish
from headrace.trainer.publish import Publisher
from tests.support.watching import WAIT_S, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.infra.embedded import Stack

STEP = 4
"""Rollouts of a step."""


@pytest.fixture
def watch(stack: Stack) -> Iterator[Watch]:
    made = Watch(stack)
    yield made
    made.close()


def test_each_version_brings_new_tasks_though_the_broker_dies_meanwhile(
    stack: Stack, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A trainer whose broker is away for longer than this starts again; a slow machine's is.
    monkeypatch.setattr(publish, "TRANSACTION_MS", 600_000)
    policy = f"p-{new_ulid()}"
    config = TaskSourceConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        policy=policy,
        group_size=2,
        rollouts_per_step=STEP,
        max_staleness=1,
    )
    publisher = Publisher(watch.kafka, watch.codec, Patience(), policy=policy, trainer="main")
    publisher.start()
    publisher.commit(version=PolicyVersion(policy=policy, version=0))

    def asked() -> list[dict[str, Any]]:
        return [task for task in watch.tasks if task["policy"] == policy]

    source, stop = TaskSource(config), threading.Event()
    draw = (TaskItem(input=number) for number in range(1_000))
    thread = threading.Thread(target=source.run, args=(draw, stop))
    thread.start()
    try:
        watch.until(lambda: len(asked()) == 2 * STEP)
        for version in (1, 2):
            step = [task["rollout_id"] for task in asked()][(version - 1) * STEP :][:STEP]
            killing = threading.Thread(target=stack.kill, args=("kafka", WAIT_S))
            killing.start()
            publisher.commit(
                version=PolicyVersion(policy=policy, version=version),
                outcomes=[
                    Outcome(rollout_id=one, policy=policy, outcome="trained", trainer="main")
                    for one in step
                ],
            )
            killing.join()
            # Of what was asked for a step is trained, and a step may run ahead of the new version.
            watch.until(lambda version=version: len(asked()) == (2 + version) * STEP)  # type: ignore[misc]
        assert source.pace.trained == 2 * STEP
    finally:
        stop.set()
        thread.join(WAIT_S)
        source.close()
