"""One policy of its own on the shared topics, with samples and credits made here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, TopicPartition

from headrace.connectors.kafka import (
    KafkaConfig,
    Outgoing,
    PoisonSettings,
    Registry,
    RegistryAccess,
    Tailer,
    Writer,
    consumer_settings,
)
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.schemas import (
    Codec,
    Credits,
    CreditsBatch,
    Outcome,
    PolicyRecord,
    PolicyVersion,
    from_avro,
    new_ulid,
    partition_of,
    to_avro,
)
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.config import TrainerConfig
from headrace.trainer.errors import TrainerError
from headrace.trainer.optimizer import OptimizerConfig
from headrace.trainer.run import Trainer
from headrace.trainer.trainable import IntakeConfig
from tests.integration.trainer.records import GROUP, credits_of, samples_of
from tests.support.environment import environment_of
from tests.support.shared_log import readable
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack


CREDITS, SAMPLES = "headrace.credits", "headrace.samples"


OUTCOMES, POLICIES = "headrace.outcomes", "headrace.policies"


PARTITIONS = 8


SECONDS = 150.0  # a child that imports torch on a busy machine


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

    def doing(self) -> str:
        """What it last said that it does."""
        return str(read_heartbeat(self.beat).get("doing", ""))


class TrainerBench:
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
        poison = intake.pop("poison", PoisonSettings())
        keep_versions = intake.pop("keep_versions", 0)
        algorithm = intake.pop("algorithm", AlgorithmConfig(horizon=4))
        critic, reference = intake.pop("critic", None), intake.pop("kl_reference", "base")
        intake.setdefault("rollouts_per_step", GROUP)
        return TrainerConfig(
            kafka=self.kafka,
            registry=RegistryAccess(url=self.stack.registry_url),
            base_model=self.model,
            base_name="tiny",
            checkpoints=self.directory / trainer,
            intake=IntakeConfig(policy=self.policy, **intake),
            algorithm=algorithm,
            critic=critic,
            kl_reference=reference,
            optimizer=OptimizerConfig(lr=1e-3),
            threads=1,
            max_versions=max_versions,
            poison=poison,
            keep_versions=keep_versions,
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
        return credits_of(self.policy, group)

    def send_samples(self, credits: Credits, version: int = 0) -> None:
        samples = samples_of(credits, version)
        self.writer.send([self.record(SAMPLES, one.group_id, one) for one in samples], SECONDS)

    def send_credits(self, credits: Credits) -> None:
        record = self.record(CREDITS, credits.group_id, CreditsBatch(credits=[credits]))
        self.writer.send([record], SECONDS)

    def record(self, topic: str, group: str, content: object) -> Outgoing:
        value = self.codec.encode(topic, to_avro(content))
        return Outgoing(topic=topic, value=value, partition=partition_of(group, PARTITIONS))

    def poll(self) -> None:
        for message in self.tailer.read(0.05):
            decoded = readable(self.codec, message.topic, message.value)
            if decoded is None:
                continue
            if message.topic == OUTCOMES:
                self._outcomes.append(from_avro(Outcome, decoded))
            elif version := from_avro(PolicyRecord, decoded).version:
                self._versions.append(version)

    def outcomes(self, trainer: str = "main") -> list[Outcome]:
        self.poll()
        return [o for o in self._outcomes if (o.policy, o.trainer) == (self.policy, trainer)]

    def versions(self, trainer: str = "main") -> list[PolicyVersion]:
        self.poll()
        mine = [v for v in self._versions if v.policy.split("~")[0] == self.policy]
        return [v for v in mine if v.trainer == trainer]

    def await_version(self, version: int, trainer: str = "main") -> list[PolicyVersion]:
        wait_until(
            lambda: any(v.version == version for v in self.versions(trainer)),
            f"{trainer}'s version {version}",
            SECONDS,
        )
        return self.versions(trainer)

    def await_outcomes(self, count: int) -> list[Outcome]:
        wait_until(lambda: len(self.outcomes()) >= count, f"{count} outcomes", SECONDS)
        return self.outcomes()

    def environment(self, rollouts: int) -> dict[str, str]:
        return environment_of(
            self.stack,
            HEADRACE_CHECKPOINT_DIRECTORY=self.directory,
            HEADRACE_POLICY_NAME=self.policy,
            HEADRACE_POLICY_MODEL="tiny",
            HEADRACE_TRAINER_GROUP_SIZE=GROUP,
            HEADRACE_TRAINER_GROUPS_PER_STEP=rollouts // GROUP,
            HEADRACE_TRAINER_LEARNING_RATE=1e-3,
            HEADRACE_TRAINER_HORIZON=4,
            HEADRACE_TRAINER_THREADS=1,
            OMP_NUM_THREADS=1,
        )


def trained(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(o.sample_id for o in outcomes if o.outcome == "trained")


def why(outcomes: list[Outcome]) -> set[tuple[str, str, str]]:
    return {(o.rollout_id, o.outcome, o.reason) for o in outcomes}


def committed_offset(bench: TrainerBench) -> int:
    group = f"headrace.trainer.{bench.policy}"
    consumer = Consumer(consumer_settings(bench.kafka, group=group))
    try:
        (found,) = consumer.committed([TopicPartition(SAMPLES, 3)], 30)
        return int(found.offset)
    finally:
        consumer.close()


def end_of(bench: TrainerBench, topic: str, partition: int) -> int:
    consumer = Consumer(consumer_settings(bench.kafka, group="test"))
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), 30)[1])
    finally:
        consumer.close()


def saved(bench: TrainerBench) -> list[Path]:
    return sorted((bench.directory / "main").glob("0*"))
