"""Room for checkpoints, and checkpoints that are not what was committed, on the real broker."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from headrace.connectors.kafka import RESUMED, HaltLog, Tailer
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.schemas import Halt, PolicyRecord, from_avro
from headrace.trainer import checkpoint
from headrace.trainer.errors import NoSpace
from headrace.trainer.notices import Notices
from tests.integration.trainer.bench import (
    CREDITS,
    POLICIES,
    SECONDS,
    Running,
    TrainerBench,
    saved,
    trained,
)
from tests.integration.trainer.test_trainer_branch import serve
from tests.support.shared_log import readable
from tests.support.waiting import wait_until


def halted(bench: TrainerBench, running: Running) -> tuple[Halt, Callable[[], None]]:
    """The halt that a trainer stands still for, and how to let it go on."""
    wait_until(lambda: running.doing() == "halted", "the halt of the trainer", SECONDS)
    halts = HaltLog(bench.kafka, bench.codec)
    halt = halts.read()[f"headrace.trainer.{bench.policy}", (CREDITS, 0)]

    def resume() -> None:
        halts.write(replace(halt, state=RESUMED))
        halts.close()

    return halt, resume


def test_a_full_disk_halts_it_and_with_room_it_trains_the_same_groups(
    bench: TrainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise NoSpace("there is no room for the checkpoint of version 1")

    (group,) = bench.group_ids(1)
    with bench.trainer() as running:
        bench.await_version(0)
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "save", full)
            bench.put(group)
            halt, resume = halted(bench, running)
        assert (halt.reason, halt.message) == (
            "no_space",
            "there is no room for the checkpoint of version 1",
        )
        assert bench.outcomes() == []  # nothing says that it was trained
        resume()
        versions = bench.await_version(1)
    assert versions[-1].groups == [group]
    assert set(trained(bench.outcomes()).values()) == {1}


def test_a_checkpoint_that_was_swapped_halts_it_until_it_is_put_back(bench: TrainerBench) -> None:
    first, second = bench.group_ids(2)
    with bench.trainer():
        bench.put(first)
        bench.await_version(1)
    base, one = saved(bench)
    shutil.move(one / checkpoint.WEIGHTS, bench.directory / "kept")
    shutil.copy(base / checkpoint.WEIGHTS, one / checkpoint.WEIGHTS)
    with bench.trainer() as running:
        halt, resume = halted(bench, running)
        assert halt.reason == "checkpoint"
        assert f"{one.name}/{checkpoint.WEIGHTS} does not have its hash" in halt.message
        shutil.move(bench.directory / "kept", one / checkpoint.WEIGHTS)
        resume()
        bench.put(second, version=1)
        bench.await_version(2)
    assert set(trained(bench.outcomes()).values()) == {1}


def left(bench: TrainerBench) -> list[int]:
    """The versions whose weights are on the disk."""
    return [int(path.name[:6]) for path in saved(bench)]


def until_pruned(bench: TrainerBench, groups: list[str], versions: list[int], most: int) -> int:
    """Train a group a version until so many versions are left; the newest. (Nothing is pruned
    before the tasks are read.)"""
    newest = max(one.version for one in bench.versions())
    for group, version in zip(groups, versions, strict=True):
        bench.put(group, version=version)
        newest += 1
        bench.await_version(newest)
        if len(saved(bench)) == most:
            break
    return newest


def test_versions_that_nobody_needs_lose_their_weights_and_the_log_says_so(
    bench: TrainerBench,
) -> None:
    groups = bench.group_ids(9)
    policies = Tailer(bench.kafka, [POLICIES], name="test")
    with bench.trainer(keep_versions=2):
        bench.await_version(0)
        for number, group in enumerate(groups[:3]):
            bench.put(group, version=number)
            bench.await_version(number + 1)
        serve(bench, 2)
        newest = until_pruned(bench, groups[3:], versions=[2] * 6, most=4)
    assert left(bench) == [0, 2, newest - 1, newest]
    pruned = []
    while not policies.caught_up:
        for message in policies.read(0.1):
            told = readable(bench.codec, POLICIES, message.value)
            one = None if told is None else from_avro(PolicyRecord, told).pruned
            if one is not None and one.policy == bench.policy:
                pruned.append((one.version, one.content_hash))
    policies.close()
    hashes = {one.version: one.content_hash for one in bench.versions()}
    assert pruned == [(one, hashes[one]) for one in (1, *range(3, newest - 1))]


def test_no_step_is_made_before_it_is_known_which_tasks_run(
    bench: TrainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (group,) = bench.group_ids(1)
    with monkeypatch.context() as patched:
        patched.setattr(Notices, "read", lambda *_: iter(()))  # a broker that is slow to tell
        with bench.trainer(keep_versions=1) as running:
            bench.await_version(0)
            bench.put(group)
            wait_until(
                lambda: bool(read_heartbeat(running.beat).get("held_samples")),
                "its samples",
                SECONDS,
            )
            time.sleep(1.0)  # turns enough for a step
            assert running.doing() == "reading which rollouts run"
            assert left(bench) == [0]
    with bench.trainer(keep_versions=1):
        bench.await_version(1)
