"""The trainer on the real broker and registry, with samples and credits made here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from confluent_kafka import Consumer, Producer, TopicPartition

from headrace.connectors.kafka import (
    LOG_LOST,
    RESUMED,
    HaltLog,
    KafkaConfig,
    Outgoing,
    Registry,
    Tailer,
    Writer,
    consumer_settings,
)
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.embedded.models import tiny_llama
from headrace.schemas import (
    Codec,
    Credits,
    CreditsBatch,
    Member,
    Outcome,
    PolicyRecord,
    PolicyVersion,
    Sample,
    SampleCredit,
    from_avro,
    new_ulid,
    partition_of,
    to_avro,
)
from headrace.trainer import checkpoint
from headrace.trainer.algorithms import GrpoConfig
from headrace.trainer.config import TrainerConfig
from headrace.trainer.errors import TrainerError, TrainerFenced
from headrace.trainer.intake import IntakeConfig
from headrace.trainer.optimizer import OptimizerConfig
from headrace.trainer.run import Trainer
from tests.shared_log import readable

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

CREDITS, SAMPLES = "headrace.credits", "headrace.samples"
OUTCOMES, POLICIES = "headrace.outcomes", "headrace.policies"
PARTITIONS = 8
GROUP = 2
SECONDS = 150.0  # a child that imports torch on a busy machine


def eventually(what: str, holds: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


@dataclass
class Running:
    """A trainer in a thread."""

    thread: threading.Thread
    stop: threading.Event
    beat: Path
    error: list[BaseException] = field(default_factory=list)

    def ended(self) -> bool:
        return not self.thread.is_alive()

    def has_recovered(self) -> bool:
        """Whether it has fenced earlier ones, read the past, and begun its loop."""
        return bool(read_heartbeat(self.beat))


class Bench:
    """One policy of its own on the shared topics."""

    def __init__(self, stack: Stack, model: Path, directory: Path) -> None:
        self.stack, self.model, self.directory = stack, model, directory
        self.policy = f"p{new_ulid()}"
        self.kafka = KafkaConfig(bootstrap=stack.bootstrap)
        self.registry = Registry(stack.registry_url)
        self.codec = Codec(self.registry)
        self.writer = Writer(self.kafka)
        self.tailer = Tailer(self.kafka, [OUTCOMES, POLICIES], name="test")
        self._outcomes: list[Outcome] = []
        self._versions: list[PolicyVersion] = []

    def close(self) -> None:
        self.writer.close()
        self.tailer.close()
        self.registry.close()

    def config(self, **intake: Any) -> TrainerConfig:
        trainer = intake.setdefault("trainer", "main")
        max_versions = intake.pop("max_versions", 0)
        intake.setdefault("rollouts_per_step", GROUP)
        return TrainerConfig(
            kafka=self.kafka,
            registry_url=self.stack.registry_url,
            base_model=self.model,
            base_name="tiny",
            checkpoints=self.directory / trainer,
            intake=IntakeConfig(policy=self.policy, **intake),
            algorithm=GrpoConfig(horizon=4),
            optimizer=OptimizerConfig(lr=1e-3),
            threads=1,
            max_versions=max_versions,
        )

    @contextmanager
    def trainer(self, **intake: Any) -> Iterator[Running]:
        """A trainer that runs while the block does; what ends it early is in `error`."""
        beat = self.directory / f"beat-{new_ulid()}.json"
        config = replace(self.config(**intake), heartbeat=beat)
        trainer, stop = Trainer(config), threading.Event()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                trainer.run(stop)
            except BaseException as error:  # handed to the test
                errors.append(error)

        running = Running(threading.Thread(target=run, daemon=True), stop, beat, errors)
        running.thread.start()
        try:
            yield running
        finally:
            stop.set()
            running.thread.join(SECONDS)
        assert running.ended()
        if errors and not isinstance(errors[0], TrainerError):
            raise errors[0]

    def group_ids(self, count: int) -> list[str]:
        """Groups of one partition, so that the log orders them."""
        found: list[str] = []
        while len(found) < count:
            name = new_ulid()
            if partition_of(name, PARTITIONS) == 3:
                found.append(name)
        return found

    def put(self, *groups: str, version: int = 0) -> list[Credits]:
        """Samples of groups, sampled by a policy version, then their credits."""
        made = [self.credits(group) for group in groups]
        for credits in made:
            self.send_samples(credits, version)
            self.send_credits(credits)
        return made

    def credits(self, group: str) -> Credits:
        rollouts = [f"{group}-{i}" for i in range(GROUP)]
        return Credits(
            group_id=group,
            group_size=GROUP,
            policy=self.policy,
            rule="r@1",
            credit="grpo@1",
            version=10,
            members=[
                Member(rollout_id=r, attempt="a", episode_version=5, status="used", reward=i)
                for i, r in enumerate(rollouts)
            ],
            samples=[
                SampleCredit(
                    sample_id=f"{r}/a/s/0",
                    rollout_id=r,
                    attempt="a",
                    advantage=1.0 - 2.0 * i,
                )
                for i, r in enumerate(rollouts)
            ],
        )

    def send_samples(self, credits: Credits, version: int = 0) -> None:
        random = np.random.default_rng(partition_of(credits.group_id, 1 << 30))
        self.writer.send(
            [
                self.record(
                    SAMPLES,
                    credits.group_id,
                    Sample(
                        sample_id=sample.sample_id,
                        rollout_id=sample.rollout_id,
                        attempt="a",
                        group_id=credits.group_id,
                        policy=self.policy,
                        prompt_ids=random.integers(0, 250, 6).astype("<u4").tobytes(),
                        sampled_ids=random.integers(0, 250, 4).astype("<u4").tobytes(),
                        logprobs=np.full(4, -5.6, "<f4").tobytes(),
                        run_versions=[version],
                        run_lengths=[4],
                    ),
                )
                for sample in credits.samples
            ],
            SECONDS,
        )

    def send_credits(self, credits: Credits) -> None:
        record = self.record(CREDITS, credits.group_id, CreditsBatch(credits=[credits]))
        self.writer.send([record], SECONDS)

    def record(self, topic: str, group: str, content: object) -> Outgoing:
        value = self.codec.encode(topic, to_avro(content))
        return Outgoing(topic=topic, value=value, partition=partition_of(group, PARTITIONS))

    def poll(self) -> None:
        for message in self.tailer.read(0.05):
            decoded = readable(self.codec, message.topic(), message.value())
            if decoded is None:
                continue
            if message.topic() == OUTCOMES:
                self._outcomes.append(from_avro(Outcome, decoded))
            elif version := from_avro(PolicyRecord, decoded).version:
                self._versions.append(version)

    def outcomes(self, trainer: str = "main") -> list[Outcome]:
        self.poll()
        return [o for o in self._outcomes if (o.policy, o.trainer) == (self.policy, trainer)]

    def versions(self, trainer: str = "main") -> list[PolicyVersion]:
        self.poll()
        mine = [v for v in self._versions if v.policy.split(".")[0] == self.policy]
        return [v for v in mine if v.trainer == trainer]

    def await_version(self, version: int, trainer: str = "main") -> list[PolicyVersion]:
        eventually(
            f"{trainer}'s version {version}",
            lambda: any(v.version == version for v in self.versions(trainer)),
        )
        return self.versions(trainer)

    def await_outcomes(self, count: int) -> list[Outcome]:
        eventually(f"{count} outcomes", lambda: len(self.outcomes()) >= count)
        return self.outcomes()

    def environment(self, rollouts: int) -> dict[str, str]:
        return {
            **os.environ,
            "HEADRACE_KAFKA_BOOTSTRAP": self.stack.bootstrap,
            "HEADRACE_REGISTRY_URL": self.stack.registry_url,
            "HEADRACE_CHECKPOINT_DIRECTORY": str(self.directory),
            "HEADRACE_POLICY_NAME": self.policy,
            "HEADRACE_POLICY_MODEL": "tiny",
            "HEADRACE_TRAINER_GROUP_SIZE": str(GROUP),
            "HEADRACE_TRAINER_GROUPS_PER_STEP": str(rollouts // GROUP),
            "HEADRACE_TRAINER_LEARNING_RATE": "1e-3",
            "HEADRACE_TRAINER_HORIZON": "4",
            "HEADRACE_TRAINER_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def bench(stack: Stack, model: Path, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(stack, model, tmp_path)
    yield bench
    bench.close()


def trained(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(o.sample_id for o in outcomes if o.outcome == "trained")


def why(outcomes: list[Outcome]) -> set[tuple[str, str, str]]:
    return {(o.rollout_id, o.outcome, o.reason) for o in outcomes}


def test_the_base_weights_are_version_0_and_a_step_commits_weights_outcomes_and_offsets(
    bench: Bench,
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
    assert committed_offset(bench) == needed[SAMPLES, 3] == end_of(bench, SAMPLES, 3)


def committed_offset(bench: Bench) -> int:
    group = f"headrace.trainer.{bench.policy}"
    consumer = Consumer(consumer_settings(bench.kafka, group=group))
    try:
        (found,) = consumer.committed([TopicPartition(SAMPLES, 3)], 30)
        return int(found.offset)
    finally:
        consumer.close()


def end_of(bench: Bench, topic: str, partition: int) -> int:
    consumer = Consumer(consumer_settings(bench.kafka, group="test"))
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), 30)[1])
    finally:
        consumer.close()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_trainer_killed_at_its_commit_loses_no_group_trains_none_twice_and_learns_the_same(
    bench: Bench, moment: str
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
        eventually("the commit", lambda: marker.exists() or process.poll() is not None)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    if moment == "before":
        assert [v.version for v in bench.versions()] == [0]
        assert bench.outcomes() == []
    else:
        bench.await_version(1)

    # The child keeps its checkpoints under the policy's name.
    (bench.directory / "main").symlink_to(bench.directory / bench.policy)
    with bench.trainer(rollouts_per_step=2 * GROUP):
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


def test_a_second_trainer_of_the_same_name_fences_the_first(bench: Bench) -> None:
    group, late = bench.group_ids(2)
    with bench.trainer() as first:
        bench.await_version(0)
        bench.put(group)
        bench.await_version(1)
        with bench.trainer() as second:
            eventually("the second to take over", second.has_recovered)
            bench.put(late, version=1)
            bench.await_version(2)
            eventually("the first to notice", first.ended)
            assert not second.ended()
    assert isinstance(first.error[0], TrainerFenced)
    assert [v.version for v in bench.versions()] == [0, 1, 2]
    assert set(trained(bench.outcomes()).values()) == {1}


def test_a_group_whose_agents_all_crashed_frees_its_rollouts_and_stalls_nothing(
    bench: Bench,
) -> None:
    crashed, good = bench.group_ids(2)
    whole = bench.credits(crashed)
    member = replace(whole.members[0], status="incomplete", reward=None)
    nothing = replace(
        whole,
        outcome="group_incomplete",
        members=[member],
        missing_rollouts=[f"{crashed}-1"],
        samples=[],
    )
    with bench.trainer():
        bench.await_version(0)
        bench.send_credits(nothing)
        outcomes = bench.await_outcomes(2)  # with no version to ride on
        bench.put(good)
        bench.await_version(1)
    assert why(outcomes) == {
        (f"{crashed}-0", "dropped", "group_incomplete"),
        (f"{crashed}-1", "dropped", "never_started"),
    }
    assert {o.sample_id for o in outcomes} == {""}
    assert len(bench.outcomes()) == 2 + GROUP


def test_poison_goes_to_the_dead_letters_and_the_loop_goes_on(bench: Bench) -> None:
    group, broken = bench.group_ids(2)
    poison = f"poison of {bench.policy}".encode()
    bench.writer.send([Outgoing(topic=CREDITS, value=poison, partition=3)], SECONDS)
    tokens_of_another_model = np.full(4, 1 << 20, "<u4").tobytes()
    credits = bench.credits(broken)
    for sample in credits.samples:
        torn = Sample(
            sample_id=sample.sample_id,
            group_id=broken,
            policy=bench.policy,
            prompt_ids=b"\0\0\0\0",
            sampled_ids=tokens_of_another_model,
            logprobs=np.zeros(4, "<f4").tobytes(),
            run_versions=[0],
            run_lengths=[4],
        )
        bench.writer.send([bench.record(SAMPLES, broken, torn)], SECONDS)
    bench.send_credits(credits)
    with bench.trainer():
        bench.put(group)
        bench.await_version(1)
        outcomes = bench.await_outcomes(2 * GROUP)

    assert {o.reason for o in outcomes if o.group_id == broken} == {"bad_row"}
    letters = Tailer(bench.kafka, [f"{CREDITS}.dlq"], name="test")
    try:
        found = []
        while not letters.caught_up:
            found += [m for m in letters.read(0.1) if m.value() == poison]
    finally:
        letters.close()
    headers = dict(found[0].headers())
    assert headers["headrace.error.reason"] == b"malformed"
    assert headers["headrace.error.topic"] == CREDITS.encode()


def test_stale_late_and_surplus_groups_are_accounted(bench: Bench) -> None:
    group, stale, surplus = bench.group_ids(3)
    with bench.trainer(max_staleness=0, max_versions=1):
        (credits,) = bench.put(group)
        bench.await_version(1)
        bench.put(stale, version=0)
        bench.put(surplus, version=1)
        bench.send_credits(replace(credits, version=credits.version + 1))
        bench.await_outcomes(4 * GROUP)
    by_group = {
        one: {(o.outcome, o.reason) for o in bench.outcomes() if o.group_id == one}
        for one in (group, stale, surplus)
    }
    assert by_group[group] == {("trained", ""), ("revised", "revised_after_training")}
    assert by_group[surplus] == {("dropped", "max_versions")}
    assert by_group[stale] <= {("dropped", "max_versions"), ("dropped", "stale")}
    assert [v.version for v in bench.versions()] == [0, 1]


def test_a_stale_group_is_dropped_while_the_trainer_idles(bench: Bench) -> None:
    group, stale = bench.group_ids(2)
    with bench.trainer(max_staleness=0):
        bench.put(group)
        bench.await_version(1)
        bench.put(stale, version=0)
        outcomes = bench.await_outcomes(2 * GROUP)
    assert {o.reason for o in outcomes if o.group_id == stale} == {"stale"}


def test_a_sample_that_never_comes_drops_its_group(bench: Bench) -> None:
    torn, good = bench.group_ids(2)
    with bench.trainer():
        bench.send_credits(bench.credits(torn))
        outcomes = bench.await_outcomes(GROUP)
        bench.put(good)
        bench.await_version(1)
    assert {o.reason for o in outcomes} == {"sample_missing"}


def test_recovery_does_not_overlook_commits_behind_another_open_transaction(bench: Bench) -> None:
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
        eventually("version 1 on disk", lambda: len(saved(bench)) == 2)
        eventually("its outcomes", lambda: len(bench.outcomes()) == GROUP)
    # Version 1 is committed, and hidden from read_committed by the other's transaction.
    assert [v.version for v in bench.versions()] == [0]
    with bench.trainer() as again:
        bench.put(late, version=1)
        again.thread.join(2.0)  # it has to wait; nothing to observe but that nothing is written
        assert len(bench.outcomes()) == GROUP
        other.abort_transaction(SECONDS)
        bench.await_version(2)
    assert [v.groups for v in bench.versions()] == [[], [group], [late]]


def saved(bench: Bench) -> list[Path]:
    return sorted((bench.directory / "main").glob("0*"))


def test_a_log_that_no_longer_holds_what_is_needed_halts_until_the_loss_is_accepted(
    bench: Bench,
) -> None:
    from confluent_kafka.admin import AdminClient

    waiting, group, later = bench.group_ids(3)
    with bench.trainer():
        bench.send_samples(bench.credits(waiting), version=0)  # needed: its credits may come
        bench.put(group)
        bench.await_version(1)
    end = end_of(bench, SAMPLES, 3)
    admin = AdminClient({"bootstrap.servers": bench.stack.bootstrap})
    for future in admin.delete_records([TopicPartition(SAMPLES, 3, end)]).values():
        future.result(SECONDS)
    halts = HaltLog(bench.kafka, bench.codec)
    key = (f"headrace.trainer.{bench.policy}", (SAMPLES, 3))
    with bench.trainer():
        eventually("the halt of the trainer", lambda: key in halts.read())
        halt = halts.read()[key]
        assert (halt.stage, halt.reason, halt.end) == ("trainer", LOG_LOST, end)
        bench.put(later, version=1)
        assert [v.version for v in bench.versions()] == [0, 1]
        halts.write(replace(halt, state=RESUMED))
        bench.await_version(2)
    with bench.trainer():
        bench.put(*bench.group_ids(1), version=2)
        bench.await_version(3)
    halts.close()


def test_a_broker_that_is_away_for_a_while_is_waited_for(bench: Bench) -> None:
    group = bench.group_ids(1)[0]
    with bench.trainer() as running:
        bench.await_version(0)
        bench.stack.kill("kafka")
        bench.put(group)
        bench.await_version(1)
        assert not running.ended()
    assert set(trained(bench.outcomes()).values()) == {1}
