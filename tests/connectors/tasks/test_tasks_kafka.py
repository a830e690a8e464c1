"""The task source on the real broker and registry."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from headrace.connectors.kafka import KafkaAccess, Outgoing, RegistryAccess, Writer
from headrace.connectors.tasks import TaskItem, TaskSource, TaskSourceConfig, beginning
from headrace.infra.embedded import Stack
from headrace.schemas import Outcome, PolicyRecord, PolicyVersion, Task, new_ulid, to_avro
from tests.support.watching import WAIT_S, Watch

pytestmark = pytest.mark.timeout(180)


def test_the_source_paces_itself_by_versions_and_outcomes(stack: Stack, watch: Watch) -> None:
    policy = f"p-{new_ulid()}"
    config = TaskSourceConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
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


def test_a_source_reads_no_further_back_than_what_may_still_run(
    stack: Stack, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = f"p-{new_ulid()}"
    config = TaskSourceConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        policy=policy,
        group_size=2,
        rollouts_per_step=4,
        max_staleness=1,
        deadline_s=0.5,
    )
    writer = Writer(watch.kafka)

    def write(topic: str, key: str, record: object) -> None:
        value = watch.codec.encode(topic, to_avro(record))
        writer.send([Outgoing(topic=topic, key=key, value=value)])

    def publish(*versions: int) -> None:
        for version in versions:
            record = PolicyRecord(version=PolicyVersion(policy=policy, version=version))
            write("headrace.policies", f"{policy}/version/{version}", record)

    def asked() -> int:
        return sum(task["policy"] == policy for task in watch.tasks)

    def ask_until(count: int) -> None:
        source, stop = TaskSource(config), threading.Event()
        draw = (TaskItem(input=number) for number in range(1_000))
        thread = threading.Thread(target=source.run, args=(draw, stop))
        thread.start()
        try:
            watch.until(lambda: asked() == count)
            watch.until(lambda: source.admission.running == 8)
        finally:
            stop.set()
            thread.join(WAIT_S)
            source.close()

    publish(0, 1, 2)
    for rollout in (new_ulid() for _ in range(6)):  # nothing will ever be heard of them
        write("headrace.tasks", rollout, Task(rollout_id=rollout, group_id=rollout, policy=policy))
    time.sleep(1.2)  # more than twice the deadline
    publish(3, 4, 5)
    ask_until(6 + 2)  # they are of the last hour
    monkeypatch.setattr(beginning, "BACK_MS", 0)
    monkeypatch.setattr(beginning, "SKEW_MS", 0)
    ask_until(6 + 2 + 6)
    writer.close()


def test_a_source_whose_groups_all_end_untrained_stops_asking_and_says_why(
    stack: Stack, watch: Watch
) -> None:
    policy = f"p-{new_ulid()}"
    config = TaskSourceConfig(
        kafka=KafkaAccess(bootstrap=stack.bootstrap),
        registry=RegistryAccess(url=stack.registry_url),
        policy=policy,
        group_size=2,
        rollouts_per_step=4,
        pause_after=3,
    )
    writer = Writer(watch.kafka)
    record = PolicyRecord(version=PolicyVersion(policy=policy, version=0))
    value = watch.codec.encode("headrace.policies", to_avro(record))
    writer.send([Outgoing(topic="headrace.policies", key=f"{policy}/version/0", value=value)])

    def asked() -> list[dict[str, Any]]:
        return [t for t in watch.tasks if t["policy"] == policy]

    def drop_all() -> None:
        for task in asked():
            made = Outcome(
                rollout_id=task["rollout_id"],
                group_id=task["group_id"],
                policy=policy,
                outcome="dropped",
                reason="bad_row",
                trainer="main",
            )
            value = watch.codec.encode("headrace.outcomes", to_avro(made))
            key = made.rollout_id
            writer.send([Outgoing(topic="headrace.outcomes", key=key, value=value)])

    source, stop = TaskSource(config), threading.Event()
    draw = (TaskItem(input=number) for number in range(1_000))
    thread = threading.Thread(target=source.run, args=(draw, stop))
    thread.start()
    try:
        watch.until(lambda: len(asked()) == 8)
        drop_all()
        watch.until(lambda: source.pace.paused != "")
        assert "groups all ended untrained (bad_row" in source.pace.paused
        before = len(asked())
        watch.until(lambda: len(asked()) > before)  # it goes on trying
    finally:
        stop.set()
        thread.join(WAIT_S)
        source.close()
        writer.close()
