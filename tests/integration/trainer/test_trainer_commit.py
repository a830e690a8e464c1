"""The trainer's commit point on the real broker: weights, outcomes and offsets as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer

from headrace.schemas import PolicyRecord, to_avro
from headrace.trainer import checkpoint
from headrace.trainer.errors import TrainerFenced
from tests.integration.trainer.bench import (
    CREDITS,
    PARTITIONS,
    POLICIES,
    SAMPLES,
    SECONDS,
    TrainerBench,
    committed_offset,
    end_of,
    saved,
    trained,
)
from tests.integration.trainer.records import GROUP
from tests.support.waiting import wait_until


def test_the_base_weights_are_version_0_and_a_step_commits_weights_outcomes_and_offsets(
    bench: TrainerBench,
) -> None:
    one, other = bench.group_ids(2)
    with bench.trainer(rollouts_per_step=2 * GROUP):
        (base,) = bench.await_version(0)
        assert (base.parent, base.base_model, base.groups) == (-1, "tiny", [])
        bench.put(one, other)
        _, first = bench.await_version(1)
        outcomes = bench.outcomes()

    assert (first.parent, first.groups, first.samples) == (0, [one, other], 2 * GROUP)
    assert first.weights_hash != base.weights_hash
    assert first.config_hash == base.config_hash == bench.config(rollouts_per_step=4).hash()
    checkpoint.verify(Path(first.uri), first.content_hash)
    assert {(o.step, o.staleness, o.tokens) for o in outcomes} == {(1, 0, 4)}
    assert trained(outcomes) == {
        f"{group}-{i}/a/s/0": 1 for group in (one, other) for i in range(GROUP)
    }
    assert first.metrics["same_version_tokens"] == 16
    needed = {(o.topic, o.partition): o.offset for o in first.offsets}
    assert set(needed) == {(t, p) for t in (CREDITS, SAMPLES) for p in range(PARTITIONS)}
    assert needed[SAMPLES, 3] == end_of(bench, SAMPLES, 3)
    wait_until(lambda: committed_offset(bench) == needed[SAMPLES, 3], "the lag being told")


@pytest.mark.parametrize("moment", ["writing", "before", "after"])
def test_a_trainer_killed_at_its_commit_loses_no_group_trains_none_twice_and_learns_the_same(
    bench: TrainerBench, moment: str
) -> None:
    groups = bench.group_ids(4)
    bench.put(*groups[:2])
    marker = bench.directory / "stands-still"
    script = Path(__file__).parent / "stopping_trainer.py"
    # Its first transaction is version 0, its second the one that trains.
    process = subprocess.Popen(
        [sys.executable, str(script), moment, "2", str(marker), str(bench.model)],
        env=bench.environment(2 * GROUP),
    )
    try:
        wait_until(lambda: marker.exists() or process.poll() is not None, "the commit", SECONDS)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    if moment != "after":
        assert [v.version for v in bench.versions()] == [0]
        assert bench.outcomes() == []
    else:
        bench.await_version(1)

    # The child keeps its checkpoints under the policy's name.
    (bench.directory / "main").symlink_to(bench.directory / bench.policy)
    with bench.trainer(rollouts_per_step=2 * GROUP):
        bench.await_version(1)  # nobody samples from a version before it is published
        bench.put(*groups[2:], version=1)
        resumed = bench.await_version(2)
    with bench.trainer(rollouts_per_step=2 * GROUP, trainer="straight"):
        straight = bench.await_version(2, "straight")

    assert [v.version for v in resumed] == [0, 1, 2]
    assert [v.groups for v in resumed] == [[], groups[:2], groups[2:]]
    assert [v.weights_hash for v in resumed] == [v.weights_hash for v in straight]
    assert len({v.weights_hash for v in resumed}) == 3
    outcomes = bench.outcomes()
    assert len(outcomes) == 4 * GROUP
    assert set(trained(outcomes).values()) == {1}


def test_a_second_trainer_of_the_same_name_fences_the_first(bench: TrainerBench) -> None:
    group, late = bench.group_ids(2)
    with bench.trainer() as first:
        bench.await_version(0)
        bench.put(group)
        bench.await_version(1)
        with bench.trainer() as second:
            wait_until(second.has_recovered, "the second to take over", SECONDS)
            bench.put(late, version=1)
            bench.await_version(2)
            wait_until(first.ended, "the first to notice", SECONDS)
            assert not second.ended()
    assert isinstance(first.error[0], TrainerFenced)
    assert [v.version for v in bench.versions()] == [0, 1, 2]
    assert set(trained(bench.outcomes()).values()) == {1}


def test_recovery_does_not_overlook_commits_behind_another_open_transaction(
    bench: TrainerBench,
) -> None:
    group, late = bench.group_ids(2)
    other = Producer(
        {"bootstrap.servers": bench.stack.bootstrap, "transactional.id": f"other-{bench.policy}"}
    )
    with bench.trainer():
        bench.await_version(0)
        other.init_transactions(SECONDS)
        other.begin_transaction()
        value = bench.codec.encode(POLICIES, to_avro(PolicyRecord()))
        other.produce(POLICIES, value=value, key=b"other", partition=0)
        other.flush(SECONDS)
        bench.put(group)
        wait_until(lambda: len(saved(bench)) == 2, "version 1 on disk", SECONDS)
        wait_until(lambda: len(bench.outcomes()) == GROUP, "its outcomes", SECONDS)
    # Version 1 is committed, and hidden from read_committed by the other's transaction.
    assert [v.version for v in bench.versions()] == [0]
    with bench.trainer() as again:
        bench.put(late, version=1)
        again.thread.join(2.0)  # it has to wait; nothing to observe but that nothing is written
        assert len(bench.outcomes()) == GROUP
        other.abort_transaction(SECONDS)
        bench.await_version(2)
    assert [v.groups for v in bench.versions()] == [[], [group], [late]]
