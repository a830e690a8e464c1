"""The trainer's loop: read credits and samples, step, commit."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch

from headrace.connectors.kafka import KafkaUnavailable, LogRecord, Patience, Stopped, ends_of
from headrace.connectors.metrics import Reporter, Subscription
from headrace.schemas import Credits, CreditsBatch, Outcome, Sample, Task, from_avro
from headrace.schemas.vocabulary import DropReason, HaltReason
from headrace.trainer.annotated import annotated
from headrace.trainer.batch import pack_rows
from headrace.trainer.config import TrainerConfig
from headrace.trainer.decided import Span
from headrace.trainer.errors import NonFiniteStep
from headrace.trainer.halting import Halted, halt, halting
from headrace.trainer.heartbeat import Heartbeat
from headrace.trainer.measures import StepResult
from headrace.trainer.pinned import Position
from headrace.trainer.reading import READ, position_of
from headrace.trainer.rewards import rewards_of
from headrace.trainer.rows import rows_of
from headrace.trainer.session import SAMPLES, Session, now_ms, opened
from headrace.trainer.settings import MAIN
from headrace.trainer.step import TrainStep
from headrace.trainer.trainable import TrainableGroup

logger = logging.getLogger(__name__)


class Trainer:
    """One policy's trainer."""

    def __init__(self, config: TrainerConfig) -> None:
        self.config = config
        self.heartbeat = Heartbeat(_reporter(config))

    def run(self, stop: threading.Event) -> None:
        """Recover, then train until `stop` is set.

        Raises a TrainerError for what a restart or a person has to mend: TrainerFenced,
        CommitRefused, or a Refused; and LogLost.
        """
        torch.set_num_threads(self.config.threads)
        with self.heartbeat.served():
            try:
                while not stop.is_set():
                    self._train_until_halted(stop)
            except Stopped:
                logger.info("stopped while waiting; a restart goes on from the last commit")

    def _train_until_halted(self, stop: threading.Event) -> None:
        patience = Patience("the trainer", stop=stop)
        try:
            with opened(self.config, patience, self.heartbeat) as session:
                loop = Loop(session, self.heartbeat)
                while not stop.is_set():
                    loop.turn()
                loop.end()
        except Halted:
            logger.error("halted: read on from the last commit after `headrace resume`")


def _reporter(config: TrainerConfig) -> Reporter | None:
    if config.heartbeat is None:
        return None
    subscription = Subscription(kafka=config.kafka, group=config.consumer_group, topics=READ)
    return Reporter(config.heartbeat, part=config.heartbeat.stem, subscription=subscription)


NON_FINITE_STEPS = 3
"""So many in a row, and the trainer halts."""


class Loop:
    """Turns of a recovered trainer."""

    def __init__(self, session: Session, heartbeat: Heartbeat) -> None:
        self._session = session
        self._intake = session.intake
        self._heartbeat = heartbeat
        self._step = self._made_step()
        self._vocabulary = session.policy.head.shape[0]
        self._non_finite = 0
        """Steps in a row that were not finite."""

    def _made_step(self) -> TrainStep:
        session = self._session
        return TrainStep(
            session.policy,
            session.optimizer,
            reference=session.follow_reference(),
            critic=session.critic,
        )

    def end(self) -> None:
        """Commit what was trained."""
        self._settle(wait=True)

    def turn(self) -> None:
        """One look at the log, and a step if one is due."""
        self._settle(wait=False)
        self._read()
        self._bound()
        if self._has_finished():
            self._account(self._intake.drop_all(DropReason.MAX_VERSIONS, now_ms()))
        self._account(self._intake.settle(self._sample_positions(), now_ms()))
        # Before that nobody knows which rollouts run that a step would make stale.
        if self._session.notices.caught_up and (batch := self._intake.next_batch(now_ms())):
            with halting(self._session.guard, self._session.patience):
                self._train(batch)
        if self._session.in_flight is None and self._session.ledger.is_due(time.monotonic()):
            self._session.flush()
        self._beat("finished" if self._has_finished() else self._waiting_for())

    def _read(self) -> None:
        """Take in what the log holds next; raises Halted where too much of it cannot be read."""
        session = self._session
        records = session.log.read()
        taken, refused = session.reading.decode(records)
        for record, decoded in taken:
            self._take(record, decoded)
        session.guard.taken(ends_of(records))
        if refused:
            session.patience.until_done(lambda: session.guard.refused(refused))
        if session.guard.halted:
            raise Halted
        for notice, log_time in session.notices.read(now_ms()):
            if isinstance(notice, Task):
                self._restore(self._intake.needs_of_task(notice, log_time, now_ms()))
                self._intake.add_task(notice, log_time, now_ms())
                session.evaluations.add(notice, log_time)
            elif notice.policy == session.config.publishes:
                session.serve(notice)

    def _take(self, record: LogRecord, decoded: dict[str, Any]) -> None:
        position = position_of(record)
        if record.topic == SAMPLES:
            sample = from_avro(Sample, decoded)
            self._look_up(sample, position)
            self._intake.add_sample(sample, position)
            return
        for credits in from_avro(CreditsBatch, decoded).credits:
            self._session.evaluations.ended((credits.project, credits.group_id))
            self._look_up(credits, position)
            self._account(self._intake.add_credits(credits, position, now_ms()))

    def _look_up(self, record: Sample | Credits, position: Position) -> None:
        """Read back what of the trainer's past decides about a record."""
        self._restore(self._intake.needs(record, position))

    def _restore(self, span: Span | None) -> None:
        if span is not None:
            self._intake.restore(span, self._session.history.decisions(span))

    def _bound(self) -> None:
        """Ask where the samples end of groups that lack some."""
        lacking = self._intake.unbounded()
        if not lacking:
            return
        try:
            ends = self._session.log.ends((SAMPLES, partition) for _, partition in lacking)
        except KafkaUnavailable as error:  # asked again in the next turn
            self._session.patience.pause(str(error), 0.0)
            return
        for key, partition in lacking:
            self._intake.bound(key, ends[SAMPLES, partition])

    def _waiting_for(self) -> str:
        if not self._session.notices.caught_up:
            return "reading which rollouts run"
        if self._intake.waited_for:
            return "waiting for rollouts that the next step would make stale"
        return "waiting for credits"

    def _sample_positions(self) -> dict[int, int]:
        positions = self._session.log.positions
        return {part: offset for (topic, part), offset in positions.items() if topic == SAMPLES}

    def _has_finished(self) -> bool:
        return 0 < self._session.config.max_versions <= self._intake.version

    def _settle(self, *, wait: bool) -> float:
        """Commit the version that is on its way to disk; the seconds that it took of the loop."""
        session, began = self._session, time.monotonic()
        if (flight := session.in_flight) is None:
            return 0.0
        if wait:
            self._beat(f"waiting for version {flight.version} to be on disk")
        with halting(session.guard, session.patience):
            session.settle_version(wait=wait)
        if session.in_flight is None:
            record = session.versions[flight.version]
            logger.info("version %d: %s", flight.version, _brief(record.metrics))
        return time.monotonic() - began

    def _train(self, groups: Sequence[TrainableGroup]) -> None:
        waited = self._settle(wait=True)
        started, config = time.monotonic(), self._session.config
        rows = [
            row
            for group in groups
            for row in rows_of(
                group.credits.samples,
                group.samples,
                self._vocabulary,
                rewards_of(group.credits, group.samples) if config.algorithm.critic else {},
            )
        ]
        if self._session.go_to_head():
            self._step = self._made_step()
        self._step.reference = self._session.follow_reference()
        next_version = self._intake.version + 1
        self._beat(f"step {next_version}")
        try:
            result = self._step.run(
                pack_rows(rows, config.packing, config.algorithm.reads),
                config.algorithm,
                version=self._intake.sampled_from,
                own_samples=config.intake.trainer == MAIN,
                episodes=sum(group.episodes for group in groups),
                rate=config.rate(next_version),
                annotate=config.annotate,
            )
        except NonFiniteStep as error:
            logger.error("step %d was not taken: %s", next_version, error)
            self._drop(groups, DropReason.NON_FINITE)
            if config.algorithm.updates > 1 or config.critic is not None:  # a part was taken
                self._session.reload()
                self._step = self._made_step()
            self._non_finite += 1
            if self._non_finite >= NON_FINITE_STEPS:
                self._halt(str(error))
            return
        self._non_finite = 0
        self._account(annotated(self._intake.trained(groups, now_ms()), result.annotations))
        metrics = self._metrics(groups, result, time.monotonic() - started)
        self._session.begin_version(groups, {**metrics, "waited_seconds": waited})

    def _halt(self, why: str) -> NoReturn:
        """Stand still, durably: the next batch would most likely end like the last ones."""
        session = self._session
        session.flush()
        message = (
            f"{NON_FINITE_STEPS} steps in a row were not finite, the last because {why}. Roll back "
            "to a version that was sound, or lower [trainer] learning_rate, before you resume"
        )
        halt(session.guard, session.patience, HaltReason.NON_FINITE, message)

    def _drop(self, groups: Sequence[TrainableGroup], reason: str) -> None:
        for group in groups:
            self._account(self._intake.drop(group.key, reason, now_ms()))

    def _account(self, outcomes: Sequence[Outcome]) -> None:
        self._session.ledger.add(outcomes, time.monotonic())

    def _metrics(
        self, groups: Sequence[TrainableGroup], result: StepResult, seconds: float
    ) -> dict[str, float]:
        rewards, self._intake.rewards = self._intake.rewards, []
        return {
            **result.metrics(),
            # Of all that was credited since the last version: groups that are all right, or all
            # wrong, train nothing and count here.
            "reward": sum(rewards) / max(1, len(rewards)),
            "groups": float(len(groups)),
            "seconds": seconds,
        }

    def _beat(self, doing: str) -> None:
        self._heartbeat.beat(
            doing,
            version=self._intake.version,
            waiting_groups=self._intake.waiting_groups,
            waited_for=self._intake.waited_for,
            held_samples=self._intake.held_samples,
            held_bytes=self._intake.held_bytes,
            pending_outcomes=len(self._session.ledger.pending),
            dead_letters=self._session.reading.dead_letters,
        )


def _brief(metrics: Mapping[str, float]) -> str:
    wanted = ("reward", "rows", "dropped", "staleness_mean", "logp_gap", "ess", "seconds")
    return ", ".join(f"{name} {metrics[name]:.4g}" for name in wanted if name in metrics)
