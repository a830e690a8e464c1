"""Intake: joins credits with samples, decides what is trained, and accounts for the rest.

Pure: it is told records and their positions, and returns groups and outcomes. What it remembers
follows the verbs of every stage: `needs` says what of the past a record asks for, the shell looks
it up, `restore` takes it in, `settle` decides, and what is stale or too much is evicted (rule: a
group trains once and whole). Every rollout of an admitted group ends in trained samples or in a
dropped outcome with a reason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from headrace.schemas import Credits, Outcome, Sample, Task
from headrace.schemas.vocabulary import (
    DropReason,
    GroupOutcome,
    MemberStatus,
    SampleOutcome,
    Untrainable,
)
from headrace.trainer.accounts import Verdict, outcomes_of
from headrace.trainer.decided import UNCOMMITTED, Decided, Decision, GroupKey, Span
from headrace.trainer.fitness import Fitness
from headrace.trainer.held import MEMORY, OFF_BRANCH, STALE, Held, LeftOut
from headrace.trainer.lineage import Lineage
from headrace.trainer.pinned import Pinned, Position
from headrace.trainer.ready import Ready
from headrace.trainer.running import Running
from headrace.trainer.settings import MAIN
from headrace.trainer.trainable import IntakeConfig, TrainableGroup
from headrace.trainer.waiting import WaitingGroup

_MEASURED = (GroupOutcome.TRAIN, GroupOutcome.ZERO_ADVANTAGE)
"""Groups that say how good the policy is."""


class Intake:
    """State of the join of a trainer at `version`."""

    def __init__(
        self,
        config: IntakeConfig,
        version: int = 0,
        decided: Decided | None = None,
        fitness: Fitness | None = None,
    ) -> None:
        self.config = config
        self.lineage = Lineage(version)
        self.decided = Decided() if decided is None else decided
        self._fitness = fitness or Fitness()
        self._seen = 0
        """Newest version among the tokens of all samples."""
        self._pinned = Pinned()
        self._held = Held(self._pinned)
        self._groups: dict[GroupKey, WaitingGroup] = {}
        self._lacking: dict[GroupKey, None] = {}
        """Groups with samples that have not come."""
        self._doomed: dict[GroupKey, LeftOut] = {}
        """Groups that are to be dropped, and why."""
        self._ready = Ready()
        self._running = Running(config.policy)
        self.rewards: list[float] = []
        """Of the episodes that stood for their rollouts in the training groups that have ended."""
        self.waited_for = 0
        """Running rollouts that the step which is due waits for."""

    @property
    def version(self) -> int:
        """The newest version."""
        return self.lineage.newest

    @version.setter
    def version(self, version: int) -> None:
        self.lineage.newest = version

    def needs(self, record: Sample | Credits, position: Position) -> Span | None:
        """The span of past outcomes to `restore` before the record is added; None: nothing."""
        if record.policy != self.config.policy:
            return None
        if isinstance(record, Sample):
            return self.decided.needs(position.log_time)
        if (record.project, record.group_id) in self._groups:
            return None
        return self.decided.needs(record.log_first)  # none is decided before its first Episode

    def needs_of_task(self, task: Task, log_time: int, now_ms: int) -> Span | None:
        """As `needs`, for a task written at `log_time` (milliseconds) that may still run."""
        awaited = self.config.stale == "wait" and self._running.awaits(task, log_time, now_ms)
        return self.decided.needs(log_time) if awaited else None

    def restore(self, span: Span, decisions: Mapping[GroupKey, Decision]) -> None:
        """Take in the decisions whose outcomes are in a span that was needed."""
        self.decided.restore(span, decisions)

    def add_sample(self, sample: Sample, position: Position) -> None:
        """Keep a sample until its group is decided. A repetition changes nothing."""
        if sample.policy != self.config.policy:
            return
        assert self.needs(sample, position) is None, "restore what the sample needs first"
        key = (sample.project, sample.group_id)
        if key in self.decided or not self._held.add(key, sample, position):
            return
        if unfit := self._unfit(sample):
            self._held.let_go(key, sample.sample_id, unfit)
        if (group := self._groups.get(key)) and sample.sample_id in group.missing:
            group.missing.remove(sample.sample_id)
            self._look(key, group)

    def add_credits(self, credits: Credits, position: Position, now_ms: int) -> list[Outcome]:
        """Take a group's credits; returns the outcomes of what is decided by them alone."""
        if credits.policy != self.config.policy:
            return []
        assert self.needs(credits, position) is None, "restore what the credits need first"
        key = (credits.project, credits.group_id)
        known = self._groups.get(key)
        if key in self.decided:
            return self._revised(key, credits, now_ms)
        if known is not None and known.credits.version >= credits.version:
            return []
        first = position if known is None else min(known.position, position)
        if known is not None:
            self._pinned.remove(known.position)
        self._pinned.add(first)
        trainable = {one.sample_id for one in credits.samples if one.trainable}
        missing = trainable - self._held.of(key).keys()
        group = self._groups[key] = WaitingGroup(credits, first, missing=missing)
        if credits.outcome == GroupOutcome.TRAIN and trainable:
            if mismatch := self.config.mismatch(credits):
                return self.drop(key, mismatch.reason, now_ms, detail=mismatch.detail)
            self._look(key, group)
            return []
        reason = (
            credits.outcome if credits.outcome != GroupOutcome.TRAIN else Untrainable.UNEXPLAINED
        )
        return self.drop(key, reason, now_ms)

    def _revised(self, key: GroupKey, credits: Credits, now_ms: int) -> list[Outcome]:
        """Record what a revision would have changed (rule: a decided group stays decided)."""
        self._held.forget(key)
        decision = self.decided[key]
        if credits.version <= decision.credits_version:
            return []
        reason = (
            DropReason.REVISED_AFTER_TRAINING if decision.trained else DropReason.REVISED_AFTER_DROP
        )
        outcomes = [
            replace(one, outcome=SampleOutcome.REVISED, reason=reason)
            for one in outcomes_of(credits, self._verdict(now_ms, reason, {}))
            if one.sample_id
        ]
        log_time = UNCOMMITTED if outcomes else decision.log_time
        self.decided[key] = Decision(credits.version, decision.trained, log_time)
        return outcomes

    def published(self, version: int, log_time: int) -> None:
        """A version is in the log at a log time (milliseconds)."""
        self._running.published(version, log_time)

    def add_task(self, task: Task, log_time: int, now_ms: int) -> None:
        """Take note of a rollout that was asked for, or taken back."""
        key = (task.project, task.group_id)
        if key not in self.decided and key not in self._ready:
            self._running.add(task, log_time, now_ms)

    def unbounded(self) -> list[tuple[GroupKey, int]]:
        """(group, partition) of groups that lack samples and have no bound for them yet."""
        return [
            (key, group.position.partition)
            for key in self._lacking
            if (group := self._groups[key]).samples_end is None
        ]

    def bound(self, key: GroupKey, samples_end: int) -> None:
        """Tell where the samples of a group's partition end now that its credits are here.

        Samples share the partition of their credits (rule: samples before episodes): what is not
        before this end will not come.
        """
        self._groups[key].samples_end = samples_end

    def settle(self, sample_positions: Mapping[int, int], now_ms: int) -> list[Outcome]:
        """Let go of what is stale or too much, and drop the groups that cannot be trained.

        `sample_positions` are the next offsets to read per partition of samples.
        """
        for versions in self._held.versions():
            if why := self._too_old(versions):
                for key, sample_id in self._held.sampled_by(versions):
                    self._let_go(key, sample_id, why)
        for key in self._held.excess(self.config.max_held_bytes):
            for sample_id in self._held.of(key):
                self._let_go(key, sample_id, MEMORY)
        for key in self._ready.in_the_way(self.config.rollouts_per_step):
            self._doomed[key] = LeftOut(DropReason.RULE_CHANGED)
        for key in self._lacking:
            group = self._groups[key]
            read = sample_positions.get(group.position.partition, 0)
            if group.samples_end is not None and read >= group.samples_end:
                self._doomed.setdefault(key, LeftOut(DropReason.SAMPLE_MISSING))
        doomed, self._doomed = self._doomed, {}
        return [
            outcome
            for key, why in doomed.items()
            for outcome in self.drop(key, why.reason, now_ms, detail=why.detail)
        ]

    def next_batch(self, now_ms: int = 0) -> list[TrainableGroup]:
        """Groups of the next step; empty while too few are there, or while it would make running
        rollouts stale that are waited for, until their deadlines at `now_ms`.

        Oldest tokens first, for these would be stale first; then oldest in the log. All are of
        one rule and one credit version: others' advantages do not compare.
        """
        due = [
            batch
            for keys in self._ready.enough(self.config.rollouts_per_step)
            if (batch := self._oldest(keys))
        ]
        waits = bool(due) and self.config.stale == "wait"
        self.waited_for = self._running.admitted_before(self._kept, now_ms) if waits else 0
        if self.waited_for:
            return []
        return min(due, key=lambda batch: self._age(batch[0]), default=[])

    def _unfit(self, sample: Sample) -> LeftOut | None:
        newest = max(sample.run_versions, default=0)
        if self.config.trainer != MAIN:
            self._seen = max(self._seen, newest)
        elif newest > self.version:
            return LeftOut(
                DropReason.FUTURE_VERSION,
                f"it names version {newest}, and the newest is {self.version}",
            )
        return self._fitness.of_sample(sample)

    @property
    def sampled_from(self) -> int:
        """The version that staleness counts from: a shadow trainer's samples are of the versions of
        the trainer that is served, and so is the newest that it has seen."""
        return self.lineage.head if self.config.trainer == MAIN else self._seen

    def age(self, version: int) -> int | None:
        """How many steps a version lies behind; None: training does not go on from it."""
        if self.config.trainer == MAIN:
            return self.lineage.age(version)
        return max(0, self._seen - version)

    def _too_old(self, versions: tuple[int, ...]) -> LeftOut | None:
        ages = [self.age(version) for version in versions]
        if None in ages:
            return OFF_BRANCH
        stale = any(age is not None and age > self.config.max_staleness for age in ages)
        return STALE if stale else None

    @property
    def _kept(self) -> int:
        """The oldest version that is not stale after the next step."""
        if self.lineage.pinned is not None:  # the next step is taken from the same version
            return 0
        if self.config.max_staleness == 0:
            return self.version + 1
        return self.lineage.oldest_within(self.config.max_staleness - 1)

    def _oldest(self, keys: Iterable[GroupKey]) -> list[TrainableGroup]:
        batch, rollouts = list[TrainableGroup](), 0
        for group in sorted(map(self._trainable, keys), key=self._age):
            enough = rollouts >= self.config.rollouts_per_step
            # What was waited for is not left behind by the step that waited.
            if enough and (self.config.stale != "wait" or group.oldest_version >= self._kept):
                break
            batch.append(group)
            rollouts += group.rollouts
        return batch

    def _age(self, group: TrainableGroup) -> tuple[int, int, Position]:
        position = self._groups[group.key].position
        return group.oldest_version, position.log_time, position

    def trained(self, batch: Iterable[TrainableGroup], now_ms: int) -> list[Outcome]:
        """Close the groups of a step, which led to the next version; returns their outcomes."""
        outcomes: list[Outcome] = []
        for group in batch:
            verdict = replace(self._verdict(now_ms, "", group.samples), left_out=group.left_out)
            outcomes += outcomes_of(group.credits, verdict)
            self._decide(group.key, trained=True)
        self.lineage.stepped()
        return outcomes

    def drop(self, key: GroupKey, reason: str, now_ms: int, *, detail: str = "") -> list[Outcome]:
        """Close a group without training it; returns its outcomes."""
        group = self._groups[key]
        verdict = self._verdict(now_ms, reason, {})
        verdict = replace(verdict, detail=detail, left_out=group.left_out)
        outcomes = outcomes_of(group.credits, verdict)
        self._decide(key, trained=False)
        return outcomes

    def drop_all(self, reason: str, now_ms: int) -> list[Outcome]:
        """Close every group that has credits, and forget all samples: nothing is to be trained."""
        outcomes = [o for key in list(self._groups) for o in self.drop(key, reason, now_ms)]
        self._held.clear()
        return outcomes

    def lowest_needed(self) -> dict[tuple[str, int], int]:
        """Lowest offset per (topic, partition) of what is still undecided."""
        return self._pinned.lowest()

    @property
    def waiting_groups(self) -> int:
        """Groups with credits that have not been decided."""
        return len(self._groups)

    @property
    def held_samples(self) -> int:
        """Samples in memory."""
        return self._held.count

    @property
    def held_bytes(self) -> int:
        """Bytes of samples in memory."""
        return self._held.bytes

    def _look(self, key: GroupKey, group: WaitingGroup) -> None:
        """Find out what a group still waits for, after its credits or its samples have changed."""
        self._ready.remove(key)
        if group.missing:
            self._lacking[key] = None
            return
        self._lacking.pop(key, None)
        held = self._held.of(key)
        trainable = [one for one in group.credits.samples if one.trainable]
        group.left_out = {}
        for credit in trainable:
            one = held[credit.sample_id]
            sample = one.sample
            gone = one.gone if sample is None else self._fitness.of_credit(credit, sample)
            if gone is not None:
                group.left_out[credit.sample_id] = gone
        whole = next((why for why in group.left_out.values() if self._ends_group(why)), None)
        if whole is None and len(group.left_out) == len(trainable):
            whole = next(iter(group.left_out.values()))
        if whole is None:
            self._doomed.pop(key, None)
            self._ready.add(key, group.credits, group.position)
            self._running.ended(key)
        else:
            self._doomed[key] = whole

    def _ends_group(self, why: LeftOut) -> bool:
        """Whether a group is not trained without such a sample."""
        return why == MEMORY or (why == STALE and self.config.stale == "drop")

    def _trainable(self, key: GroupKey) -> TrainableGroup:
        group = self._groups[key]
        held = self._held.of(key)
        samples = {
            credit.sample_id: sample
            for credit in group.credits.samples
            if credit.trainable
            and credit.sample_id not in group.left_out
            and (sample := held[credit.sample_id].sample) is not None
        }
        return TrainableGroup(credits=group.credits, samples=samples, left_out=group.left_out)

    def _let_go(self, key: GroupKey, sample_id: str, why: LeftOut) -> None:
        if self._held.of(key)[sample_id].sample is None:
            return
        self._held.let_go(key, sample_id, why)
        if (group := self._groups.get(key)) is None:
            return
        if self._ends_group(why):
            self._doomed[key] = why
        else:
            self._look(key, group)

    def _decide(self, key: GroupKey, *, trained: bool) -> None:
        group = self._groups.pop(key)
        self._pinned.remove(group.position)
        self._lacking.pop(key, None)
        self._doomed.pop(key, None)
        self._ready.remove(key)
        self._running.ended(key)
        if group.credits.outcome in _MEASURED:
            self.rewards += [
                member.reward
                for member in group.credits.members
                if member.status == MemberStatus.USED and member.reward is not None
            ]
        self.decided[key] = Decision(group.credits.version, trained)
        self._held.forget(key)

    def _verdict(self, now_ms: int, reason: str, trained: Mapping[str, Sample]) -> Verdict:
        return Verdict(
            trainer=self.config.trainer,
            version=self.version,
            now_ms=now_ms,
            reason=reason,
            trained=trained,
            age=self.age,
        )
