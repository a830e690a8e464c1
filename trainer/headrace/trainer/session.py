"""A trainer between its recovery and its end: weights, log, and the commits that join them."""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from headrace.connectors.kafka import (
    DeadLetters,
    Guard,
    Partition,
    Patience,
    Registry,
    Tailer,
    make_guard,
)
from headrace.schemas import Codec, Offset, PolicyVersion, PrunedVersion, Traffic
from headrace.schemas.topics import Topic
from headrace.trainer import checkpoint
from headrace.trainer.base import base_hash, refuse_another
from headrace.trainer.config import TrainerConfig
from headrace.trainer.critic import Critic
from headrace.trainer.decided import Decided
from headrace.trainer.fitness import Fitness
from headrace.trainer.halting import halting
from headrace.trainer.heartbeat import Heartbeat
from headrace.trainer.in_flight import Disk, InFlight
from headrace.trainer.intake import Intake
from headrace.trainer.ledger import PendingOutcomes
from headrace.trainer.loading import critic_of, loaded, reference_of, weights_of
from headrace.trainer.notices import Notices
from headrace.trainer.optimizer import MasterOptimizer
from headrace.trainer.policy import Policy, refuse_window
from headrace.trainer.publish import Publisher
from headrace.trainer.reading import READ, STAGE, Reading, readable
from headrace.trainer.recover import History, Whose
from headrace.trainer.reference import Reference, needed_by, version_of
from headrace.trainer.retention import Evaluations, superfluous
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
    disk: Disk
    in_flight: InFlight | None = None
    """The version that is not committed yet, one at most."""
    evaluations: Evaluations
    served: set[int] = field(default_factory=set)
    """Versions that traffic names."""
    pruned: set[int]
    """Versions whose weights are not kept."""
    ledger: PendingOutcomes = field(default_factory=PendingOutcomes)

    def begin_version(self, groups: Sequence[TrainableGroup], metrics: Mapping[str, float]) -> None:
        """Let the weights of a step become durable; nothing is told of it before `settle_version`.

        No step may be taken until then.
        """
        version = self.intake.version
        critic = None if self.critic is None else self.critic.optimizer
        save = partial(
            checkpoint.save, self.config.checkpoints, version, self.policy, self.optimizer, critic
        )
        self.in_flight = InFlight(
            version=version,
            parent=self.at if groups else -1,
            reference=self.reference.name if self.reference and groups else "",
            groups=[group.credits.group_id for group in groups],
            samples=sum(len(group.samples) for group in groups),
            metrics=metrics,
            saved=self.disk.begin(save),
        )

    def settle_version(self, *, wait: bool) -> None:
        """Commit the version whose checkpoint is whole and on disk, in one transaction (rule: the
        version record is the commit point); without `wait`, only if it is so by now.

        Raises NoSpace, and what `Publisher.commit` does.
        """
        flight = self.in_flight
        if flight is None or not (wait or flight.saved.done()):
            return
        saved, seconds = flight.saved.result()
        # Version 0 is made of nothing that was read.
        offsets = self._needed() if flight.groups else {}
        dropped = self.ledger.dropped
        record = self._record(
            flight,
            saved,
            offsets,
            metrics={
                **flight.metrics,
                "durable_seconds": seconds,
                "dropped": float(dropped.total()),
                **{f"dropped_{reason}": float(n) for reason, n in dropped.items()},
            },
        )
        self.versions[flight.version] = record
        self.at = flight.version
        pruned = self._superfluous()
        self.publisher.commit(version=record, pruned=pruned, outcomes=self.ledger.pending)
        self.log.tell_group(offsets)
        self.in_flight = None
        self._committed(with_version=True)
        self.intake.published(flight.version, self.publisher.log_time)
        self._remove(pruned)
        checkpoint.prune(self.config.checkpoints)

    def _record(
        self,
        flight: InFlight,
        saved: checkpoint.Saved,
        offsets: Mapping[Partition, int],
        metrics: Mapping[str, float],
    ) -> PolicyVersion:
        config = self.config
        return PolicyVersion(
            policy=config.publishes,
            version=flight.version,
            parent=flight.parent,
            created_at=now_ms(),
            trainer=config.intake.trainer,
            uri=str(saved.path.resolve()),
            content_hash=saved.content_hash,
            weights_hash=_weights_hash(saved.path),
            config_hash=config.hash(),
            base_model=config.base_name,
            base_hash=self.base,
            reference=flight.reference,
            offsets=[
                Offset(topic=topic, partition=partition, offset=offset)
                for (topic, partition), offset in sorted(offsets.items())
            ],
            groups=list(flight.groups),
            samples=flight.samples,
            metrics=dict(metrics),
        )

    def _superfluous(self) -> list[PrunedVersion]:
        """The versions whose weights may go from the disk, by `[trainer] keep_versions`."""
        config, lineage = self.config, self.intake.lineage
        held = {self.at, lineage.head, *self.served, *self.evaluations.versions(now_ms())}
        if config.algorithm.kl_coef > 0.0:
            held |= needed_by(config.kl_reference, lineage, self.pruned)
        gone = superfluous(
            self.versions.keys() - self.pruned,
            last=config.keep_versions,
            every=config.keep_every,
            held=held,
        )
        return [
            PrunedVersion(
                policy=config.publishes,
                version=version,
                content_hash=self.versions[version].content_hash,
                pruned_at=now_ms(),
            )
            for version in gone
        ]

    def _remove(self, pruned: Iterable[PrunedVersion]) -> None:
        """Delete what the log says is gone; what a crash left of it, too."""
        for one in pruned:
            self.pruned.add(one.version)
            if checkpoint.remove(self.config.checkpoints, one.version, one.content_hash):
                logger.info("the weights of version %d were pruned", one.version)

    def serve(self, traffic: Traffic) -> None:
        """Traffic is kept on a version, or follows the newest (-1): train from that."""
        version = traffic.version
        known = version in self.versions.keys() - self.pruned
        self.intake.lineage.pinned = version if known else None
        self.served = {version, *(one.version for one in traffic.shares)}
        if version >= 0 and not known:
            why = "whose weights were pruned" if version in self.pruned else "which never was"
            logger.warning("traffic names version %d, %s", version, why)

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
        written, lineage = self.config.kl_reference, self.intake.lineage
        version = version_of(written, lineage, self.versions, self.pruned)
        if self.reference is None or self.reference.version != version:
            record = None if version is None else self.versions[version]
            self.reference = None  # not two of them at once
            self.reference = reference_of(self.config, record, self.base)
            if (meant := version_of(written, lineage, self.versions)) != version:
                logger.warning(
                    "the KL is taken to version %d: [trainer] kl_reference %r means version %d, "
                    "whose weights were pruned",
                    version,
                    written,
                    meant,
                )
        return self.reference.policy

    def reload(self) -> None:
        """Take the weights of the version that is loaded as they were committed."""
        version = self.versions[self.at]
        self.policy, self.optimizer = loaded(self.config, version)
        self.critic = critic_of(self.config, version)

    def flush(self) -> None:
        """Commit the pending outcomes without a version.

        A restart reads on at the last version's offsets and finds these groups decided. The
        group's offsets follow: what lies before them is not missed if the log loses it.
        """
        assert self.in_flight is None, "its outcomes stand with its version or nowhere"
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
            policy, optimizer = weights_of(config, past.last)
            critic = critic_of(config, past.last)
        refuse_window(policy, config.packing.token_budget)
        disk = Disk()
        stack.callback(disk.close)
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
            disk=disk,
            evaluations=Evaluations(config.publishes),
            pruned=set(past.pruned),
        )
        if past.last is not None:
            session.at = past.last.version
            session.intake.published(past.last.version, past.last_at)
            for version, one in past.versions.items():
                session.intake.lineage.branched(version, one.parent)
            session.serve(past.traffic)
            session._remove(past.pruned.values())
            checkpoint.forget_uncommitted(config.checkpoints, past.last.version + 1)
        with halting(guard, patience):
            if past.last is None:
                session.begin_version([], {})
                session.settle_version(wait=True)
                logger.info("published version 0 of %s, the base weights", config.publishes)
            session.follow_reference()
        yield session


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _weights_hash(path: Path) -> str:
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    return str(manifest["files"][checkpoint.WEIGHTS]["sha256"])
