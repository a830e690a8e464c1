"""A trainer between its recovery and its end: weights, log, and the commits that join them."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from headrace.connectors.kafka import (
    DeadLetters,
    Guard,
    Partition,
    Patience,
    Registry,
    Tailer,
    make_guard,
)
from headrace.schemas import Codec, Offset, PolicyVersion
from headrace.schemas.topics import Topic
from headrace.trainer import checkpoint
from headrace.trainer.base import base_hash, refuse_another
from headrace.trainer.config import TrainerConfig
from headrace.trainer.critic import Critic
from headrace.trainer.decided import Decided
from headrace.trainer.device import device_of
from headrace.trainer.fitness import Fitness
from headrace.trainer.halting import halting
from headrace.trainer.heartbeat import Heartbeat
from headrace.trainer.intake import Intake
from headrace.trainer.ledger import PendingOutcomes
from headrace.trainer.notices import Notices
from headrace.trainer.optimizer import MasterOptimizer
from headrace.trainer.policy import Policy, refuse_window
from headrace.trainer.publish import Publisher
from headrace.trainer.reading import READ, STAGE, Reading, readable
from headrace.trainer.recover import History, Whose
from headrace.trainer.reference import Reference, version_of
from headrace.trainer.trainable import TrainableGroup

logger = logging.getLogger(__name__)

CREDITS, SAMPLES = Topic.CREDITS, Topic.SAMPLES


@dataclass(kw_only=True, slots=True)
class Session:
    """What a recovered trainer holds; `opened` makes one."""

    config: TrainerConfig
    patience: Patience
    publisher: Publisher
    reading: Reading
    guard: Guard
    log: Tailer
    intake: Intake
    history: History
    notices: Notices
    policy: Policy
    optimizer: MasterOptimizer
    base: str
    """Hash of the base model."""
    versions: dict[int, PolicyVersion]
    """All versions by number."""
    at: int = 0
    """The version whose weights are loaded."""
    reference: Reference | None = None
    """What the KL is taken to, where the algorithm has one."""
    critic: Critic | None = None
    """Of an algorithm that has one."""
    ledger: PendingOutcomes = field(default_factory=PendingOutcomes)

    def commit_version(
        self, groups: Sequence[TrainableGroup], metrics: Mapping[str, float]
    ) -> PolicyVersion:
        """Checkpoint, then one transaction (rule: the version record is the commit point)."""
        version = self.intake.version
        config = self.config
        saved = checkpoint.save(
            config.checkpoints,
            version,
            self.policy,
            self.optimizer,
            None if self.critic is None else self.critic.optimizer,
        )
        offsets = self._needed() if groups else {}  # version 0 is made of nothing that was read
        record = PolicyVersion(
            policy=config.publishes,
            version=version,
            parent=self.at if groups else -1,
            created_at=now_ms(),
            trainer=config.intake.trainer,
            uri=str(saved.path.resolve()),
            content_hash=saved.content_hash,
            weights_hash=_weights_hash(saved.path),
            config_hash=config.hash(),
            base_model=config.base_name,
            base_hash=self.base,
            reference=self.reference.name if self.reference and groups else "",
            offsets=[
                Offset(topic=topic, partition=partition, offset=offset)
                for (topic, partition), offset in sorted(offsets.items())
            ],
            groups=[group.credits.group_id for group in groups],
            samples=sum(len(group.samples) for group in groups),
            metrics=dict(metrics),
        )
        self.publisher.commit(version=record, outcomes=self.ledger.pending)
        self.log.tell_group(offsets)
        self._committed(with_version=True)
        self.intake.published(version, self.publisher.log_time)
        self.versions[version] = record
        self.at = version
        checkpoint.prune(config.checkpoints)
        return record

    def serve(self, version: int) -> None:
        """Traffic is kept on a version, or follows the newest (-1): train from that."""
        known = version in self.versions
        self.intake.lineage.pinned = version if known else None
        if version >= 0 and not known:
            logger.warning("traffic names version %d, which was never published", version)

    def go_to_head(self) -> bool:
        """Load the weights that the next step starts from; whether they are others than before.

        Raises CheckpointMissing or CheckpointCorrupt.
        """
        head = self.intake.lineage.head
        if head == self.at:
            return False
        self.at = head
        self.reload()
        return True

    def follow_reference(self) -> Policy | None:
        """The model that the next step takes its KL to; None: it takes none.

        Raises ReferenceMissing, CheckpointMissing or CheckpointCorrupt.
        """
        if self.config.algorithm.kl_coef == 0.0:
            return None
        version = version_of(self.config.kl_reference, self.intake.lineage, self.versions)
        if self.reference is None or self.reference.version != version:
            record = None if version is None else self.versions[version]
            self.reference = None  # not two of them at once
            self.reference = _reference(self.config, record, self.base)
        return self.reference.policy

    def reload(self) -> None:
        """Take the weights of the version that is loaded as they were committed."""
        version = self.versions[self.at]
        self.policy, self.optimizer = _loaded(self.config, version)
        self.critic = _critic(self.config, version)

    def flush(self) -> None:
        """Commit the pending outcomes without a version.

        A restart reads on at the last version's offsets and finds these groups decided. The
        group's offsets follow: what lies before them is not missed if the log loses it.
        """
        self.publisher.commit(outcomes=self.ledger.pending)
        self.log.tell_group(self._needed())
        self._committed(with_version=False)

    def _committed(self, *, with_version: bool) -> None:
        groups = {(one.project, one.group_id) for one in self.ledger.pending}
        self.intake.decided.settle(groups, self.publisher.log_time)
        self.intake.decided.evict()
        self.ledger.committed(with_version=with_version)

    def _needed(self) -> dict[Partition, int]:
        """Lowest offset that is still needed, per partition."""
        return dict(self.log.positions) | self.intake.lowest_needed()


@contextmanager
def opened(config: TrainerConfig, patience: Patience, heartbeat: Heartbeat) -> Iterator[Session]:
    """Recover: fence older incarnations, read what is committed, load the checkpoint that the last
    committed version names, and read on at its offsets. Without one, version 0 is published.

    Waits where a partition is halted (unreadable records, a log that no longer holds those offsets,
    no usable checkpoint), until `headrace resume`. Raises Halted where it becomes so, and Refused.
    """
    with ExitStack() as stack:
        registry = Registry(config.registry)
        stack.callback(registry.close)
        codec = Codec(registry)
        dead_letters = DeadLetters(config.kafka)
        stack.callback(dead_letters.close)
        reading = Reading(codec, dead_letters, patience, config.poison.unknown_schema_s)
        intake = config.intake
        publisher = Publisher(
            config.kafka, codec, patience, policy=intake.policy, trainer=intake.trainer
        )
        publisher.start()  # (rule: fence before reading)
        whose = Whose(policy=intake.policy, trainer=intake.trainer, publishes=config.publishes)
        history = History(config.kafka, reading, patience, whose)
        past = history.last_commit()
        decided = Decided(past.last_at)
        # Before the first version there is no telling where outcomes begin: all are read.
        if (span := decided.needs(past.last_at)) is not None:
            decided.restore(span, history.decisions(span))
        group = config.consumer_group
        guard = make_guard(
            config.kafka,
            codec,
            stage=STAGE,
            group=group,
            limit=config.poison,
        )
        starts = readable(config.kafka, guard, patience, heartbeat, past.offsets)
        base = base_hash(config.base_model)
        refuse_another(past.last, base, config.base_name)
        with halting(guard, patience):
            policy, optimizer = _weights(config, past.last)
            critic = _critic(config, past.last)
        refuse_window(policy, config.packing.token_budget)
        log_ = patience.until_done(lambda: Tailer(config.kafka, READ, name=group, starts=starts))
        stack.callback(log_.close)
        notices = Notices(config.kafka, codec, patience, name=f"{group}.notices")
        stack.callback(notices.close)
        session = Session(
            config=config,
            patience=patience,
            publisher=publisher,
            reading=reading,
            guard=guard,
            log=log_,
            intake=Intake(
                intake,
                0 if past.last is None else past.last.version,
                decided,
                Fitness(vocabulary=policy.head.shape[0], token_budget=config.packing.token_budget),
            ),
            history=history,
            notices=notices,
            versions=past.versions,
            policy=policy,
            optimizer=optimizer,
            base=base,
            critic=critic,
        )
        if past.last is not None:
            session.at = past.last.version
            session.intake.published(past.last.version, past.last_at)
            for version, one in past.versions.items():
                session.intake.lineage.branched(version, one.parent)
            session.serve(past.traffic)
        with halting(guard, patience):
            if past.last is None:
                session.commit_version([], {})
                logger.info("published version 0 of %s, the base weights", config.publishes)
            session.follow_reference()
        yield session


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _weights(config: TrainerConfig, last: PolicyVersion | None) -> tuple[Policy, MasterOptimizer]:
    arithmetic = config.arithmetic
    device = device_of(config.device)
    logger.info(
        "the trainer calculates on %s in %s: %s", device, arithmetic.dtype, arithmetic.reason
    )
    dtype = getattr(torch, arithmetic.dtype)
    if last is None:
        policy = Policy.load(
            config.base_model, compute_dtype=dtype, device=device, attention=config.attention
        )
        return policy, MasterOptimizer(policy, config.optimizer)
    return _loaded(config, last, whole=True)


def _loaded(
    config: TrainerConfig, version: PolicyVersion, *, whole: bool = False
) -> tuple[Policy, MasterOptimizer]:
    """The weights of a version, and its optimiser state: `whole`, or where it was not pruned."""
    path = checkpoint.find(config.checkpoints, version.version, version.content_hash)
    whole = whole or (path / checkpoint.OPTIMIZER).exists()
    loaded = checkpoint.load(
        path,
        version.content_hash,
        config=config.optimizer,
        compute_dtype=getattr(torch, config.arithmetic.dtype),
        device=device_of(config.device),
        attention=config.attention,
        with_optimizer=whole,
    )
    logger.info(
        "goes on from version %d of %s (%s)%s",
        version.version,
        config.publishes,
        path.name,
        "" if whole else ", with fresh moments: its optimiser state was pruned",
    )
    return loaded.policy, loaded.optimizer


def _critic(config: TrainerConfig, version: PolicyVersion | None) -> Critic | None:
    """The critic as a version left it; begun from the base model where none has."""
    if config.critic is None:
        return None
    body = Policy.load(
        config.base_model,
        compute_dtype=getattr(torch, config.arithmetic.dtype),
        device=device_of(config.device),
        attention=config.attention,
    )
    critic = Critic(body, config.critic)
    if version is not None:
        path = checkpoint.find(config.checkpoints, version.version, version.content_hash)
        if not checkpoint.load_critic(path, critic.optimizer):
            logger.warning("version %d has no critic: a new one is begun", version.version)
    return critic


def _reference(config: TrainerConfig, version: PolicyVersion | None, base: str) -> Reference:
    """A version's weights, or the base model's."""
    if version is None:
        path, number, name = config.base_model, None, f"base {base}"
    else:
        path = checkpoint.find(config.checkpoints, version.version, version.content_hash)
        checkpoint.verify(path, version.content_hash, with_optimizer=False)
        number = version.version
        name = f"{version.policy}@{number} {version.weights_hash}"
    policy = Policy.load(
        path,
        compute_dtype=getattr(torch, config.arithmetic.dtype),
        device=device_of(config.device),
        attention=config.attention,
    )
    return Reference(policy=policy, version=number, name=name)


def _weights_hash(path: Path) -> str:
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    return str(manifest["files"][checkpoint.WEIGHTS]["sha256"])
