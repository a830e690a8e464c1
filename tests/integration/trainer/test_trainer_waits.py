"""A step waits for running rollouts that it would make stale, across a restart too."""

from headrace.connectors.kafka import Outgoing
from headrace.schemas import Task, partition_of, to_avro
from headrace.schemas.topics import Topic
from headrace.trainer.session import now_ms
from tests.integration.trainer.bench import PARTITIONS, SECONDS, Running, TrainerBench
from tests.integration.trainer.records import GROUP
from tests.support.waiting import wait_until


def ask(bench: TrainerBench, group: str, **changes: int) -> None:
    """Write a group's tasks."""
    rollouts = [member.rollout_id for member in bench.credits(group).members]
    records = []
    for rollout in rollouts:
        task = Task(
            rollout_id=rollout,
            group_id=group,
            group_size=GROUP,
            group_rollouts=rollouts,
            policy=bench.policy,
            deadline=changes.get("deadline", now_ms() + 3_600_000),
        )
        records.append(
            Outgoing(
                topic=Topic.TASKS,
                value=bench.codec.encode(Topic.TASKS, to_avro(task)),
                partition=partition_of(rollout, PARTITIONS),
            )
        )
    bench.writer.send(records, SECONDS)


def await_waiting(running: Running) -> None:
    wait_until(lambda: "would make stale" in running.doing(), "a step that waits", SECONDS)


def test_a_step_waits_for_slow_rollouts_and_takes_them_along(bench: TrainerBench) -> None:
    fast, slow = bench.group_ids(2)
    with bench.trainer(stale="wait", max_staleness=0) as running:
        wait_until(running.has_recovered, "the trainer's start", SECONDS)
        bench.await_version(0)
        ask(bench, slow)
        bench.put(fast)
        await_waiting(running)
    with bench.trainer(stale="wait", max_staleness=0) as running:
        await_waiting(running)  # another life knows of them too
        bench.put(slow)
        (version,) = [one for one in bench.await_version(1) if one.version == 1]
    assert version.groups == [fast, slow]


def test_past_its_deadline_nobody_is_waited_for(bench: TrainerBench) -> None:
    fast, dead = bench.group_ids(2)
    ask(bench, dead, deadline=now_ms() - 60_000)
    with bench.trainer(stale="wait", max_staleness=0):
        bench.put(fast)
        bench.await_version(1)
