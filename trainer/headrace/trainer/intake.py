"""Intake: joins credits with samples, decides what is trained, and accounts for the rest.

Pure: it is told records and their positions, and returns groups and outcomes. What it remembers
follows the verbs of every stage: `needs` says what of the past a record asks for, the shell looks
it up, `restore` takes it in, `settle` decides, and what is stale or too much is evicted (rule: a
group trains once and whole). Every rollout of an admitted group ends in trained samples or in a
dropped outcome with a reason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from headrace.schemas import Credits, Outcome, Sample
from headrace.schemas.vocabulary import (
    DropReason,
    GroupOutcome,
    MemberStatus,
    SampleOutcome,
    Untrainable,
)
from headrace.trainer.accounts import Verdict, outcomes_of
from headrace.trainer.decided import UNCOMMITTED, Decided, Decision, GroupKey, Span
from headrace.trainer.errors import TrainerError

_SAMPLE_OVERHEAD = 1_000  # bytes of a Sample object beside its tokens


@dataclass(kw_only=True, slots=True, frozen=True)
class IntakeConfig:
    """What the intake admits."""

    policy: str
    """Policy that is trained; credits and samples of others are passed over."""
    trainer: str = "main"
    """Name under which outcomes are written; another name is a shadow trainer."""
    rollouts_per_step: int = 48
    """B: a step is due when groups to train stand for at least this many rollouts."""
    max_staleness: int = 1
    """η: trainer version minus the oldest version among a sample's tokens, at most."""
    max_held_bytes: int = 1 << 30
    """Samples in memory; beyond it the oldest are let go, and their groups dropped (`memory`)."""

    def __post_init__(self) -> None:
        if not self.policy:
            raise TrainerError("policy is empty: name the policy to train")
        if self.rollouts_per_step < 1:
            raise TrainerError("rollouts_per_step must be at least 1")
        if self.max_staleness < 0:
            raise TrainerError("max_staleness must be 0 or more")
        if self.max_held_bytes < 1:
            raise TrainerError("max_held_bytes must be at least 1")


class Position(NamedTuple):
    """A record's place in the log."""

    topic: str
    partition: int
    offset: int
    log_time: int = 0
    """Milliseconds since the epoch, given by the broker."""


@dataclass(slots=True)
class _Group:
    credits: Credits
    position: Position
    samples_end: int | None = None  # end of its partition of samples, after the credits came


@dataclass(slots=True)
class _Held:
    """A sample in memory, or the mark of one that was let go."""

    sample: Sample | None
    position: Position | None
    gone: str = ""


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainableGroup:
    """A group to train, with the tokens of its trainable samples by sample id."""

    credits: Credits
    samples: Mapping[str, Sample]

    @property
    def key(self) -> GroupKey:
        """Project and group id."""
        return self.credits.project, self.credits.group_id

    @property
    def oldest_version(self) -> int:
        """Oldest policy version among its tokens."""
        versions = (version for one in self.samples.values() for version in one.run_versions)
        return min(versions, default=0)  # a row without versions is refused later, by its name

    @property
    def rollouts(self) -> int:
        """Rollouts it stands for, those that bring nothing to train included: so a step is due
        when its rollouts have ended, whatever became of them."""
        members = {member.rollout_id for member in self.credits.members}
        return len(members | set(self.credits.missing_rollouts))

    @property
    def episodes(self) -> int:
        """Episodes its statistics are over: the divisor of the loss, before any rejection."""
        used = {
            (m.rollout_id, m.attempt) for m in self.credits.members if m.status == MemberStatus.USED
        }
        return len(used | {(s.rollout_id, s.attempt) for s in self.samples.values()})


@dataclass(slots=True)
class Intake:
    """State of the join of a trainer at `version`."""

    config: IntakeConfig
    version: int = 0
    decided: Decided = field(default_factory=Decided)
    held_bytes: int = 0
    """Bytes of samples in memory."""
    _groups: dict[GroupKey, _Group] = field(default_factory=dict)
    _samples: dict[GroupKey, dict[str, _Held]] = field(default_factory=dict)

    def needs(self, record: Sample | Credits, position: Position) -> Span | None:
        """The span of past outcomes to `restore` before the record is added; None: nothing."""
        if record.policy != self.config.policy:
            return None
        if isinstance(record, Sample):
            return self.decided.needs(position.log_time)
        if (record.project, record.group_id) in self._groups:
            return None
        return self.decided.needs(record.log_first)  # none is decided before its first Episode

    def restore(self, span: Span, decisions: Mapping[GroupKey, Decision]) -> None:
        """Take in the decisions whose outcomes are in a span that was needed."""
        self.decided.restore(span, decisions)

    def add_sample(self, sample: Sample, position: Position) -> None:
        """Keep a sample until its group is decided. A repetition changes nothing."""
        if sample.policy != self.config.policy:
            return
        assert self.needs(sample, position) is None, "restore what the sample needs first"
        key = (sample.project, sample.group_id)
        if key in self.decided:
            return
        held = self._samples.setdefault(key, {})
        if sample.sample_id not in held:
            held[sample.sample_id] = _Held(sample, position)
            self.held_bytes += _size(sample)

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
        self._groups[key] = _Group(credits, first)
        if credits.outcome == GroupOutcome.TRAIN and any(s.trainable for s in credits.samples):
            return []
        reason = (
            credits.outcome if credits.outcome != GroupOutcome.TRAIN else Untrainable.UNEXPLAINED
        )
        return self.drop(key, reason, now_ms)

    def _revised(self, key: GroupKey, credits: Credits, now_ms: int) -> list[Outcome]:
        """Record what a revision would have changed (rule: a decided group stays decided)."""
        self._forget_samples(key)
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

    def unbounded(self) -> list[tuple[GroupKey, int]]:
        """(group, partition) of groups that lack samples and have no bound for them yet."""
        return [
            (key, group.position.partition)
            for key, group in self._groups.items()
            if group.samples_end is None and self._complete(key, group) is None
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
        self._evict_stale()
        self._evict_excess()
        outcomes: list[Outcome] = []
        for key, group in list(self._groups.items()):
            if reason := self._why_never(key, group, sample_positions):
                outcomes += self.drop(key, reason, now_ms)
        return outcomes

    def next_batch(self) -> list[TrainableGroup]:
        """Groups of the next step; empty while too few are there.

        Oldest tokens first, for these would be stale first; then oldest in the log. All are of
        one rule and one credit version: others' advantages do not compare.
        """
        complete = [
            (ready.oldest_version, _age(item), ready)
            for item in self._groups.items()
            if (ready := self._complete(*item)) is not None
        ]
        alike: dict[tuple[str, str], list[TrainableGroup]] = {}
        for _, _, ready in sorted(complete, key=lambda entry: entry[:2]):
            batch = alike.setdefault((ready.credits.rule, ready.credits.credit), [])
            batch.append(ready)
            if sum(one.rollouts for one in batch) >= self.config.rollouts_per_step:
                return batch
        return []

    def trained(self, batch: Iterable[TrainableGroup], now_ms: int) -> list[Outcome]:
        """Close the groups of a step, which led to the next version; returns their outcomes."""
        outcomes: list[Outcome] = []
        for group in batch:
            outcomes += outcomes_of(group.credits, self._verdict(now_ms, "", group.samples))
            self._decide(group.key, trained=True)
        self.version += 1
        return outcomes

    def drop(self, key: GroupKey, reason: str, now_ms: int, *, detail: str = "") -> list[Outcome]:
        """Close a group without training it; returns its outcomes."""
        verdict = replace(self._verdict(now_ms, reason, {}), detail=detail)
        outcomes = outcomes_of(self._groups[key].credits, verdict)
        self._decide(key, trained=False)
        return outcomes

    def drop_all(self, reason: str, now_ms: int) -> list[Outcome]:
        """Close every group that has credits, and forget all samples: nothing is to be trained."""
        outcomes = [o for key in list(self._groups) for o in self.drop(key, reason, now_ms)]
        self._samples.clear()
        self.held_bytes = 0
        return outcomes

    def lowest_needed(self) -> dict[tuple[str, int], int]:
        """Lowest offset per (topic, partition) of what is still undecided."""
        lowest: dict[tuple[str, int], int] = {}
        positions = [group.position for group in self._groups.values()]
        positions += [
            h.position for held in self._samples.values() for h in held.values() if h.position
        ]
        for position in positions:
            where = (position.topic, position.partition)
            lowest[where] = min(position.offset, lowest.get(where, position.offset))
        return lowest

    @property
    def waiting_groups(self) -> int:
        """Groups with credits that have not been decided."""
        return len(self._groups)

    @property
    def held_samples(self) -> int:
        """Samples in memory."""
        return sum(h.sample is not None for held in self._samples.values() for h in held.values())

    def _complete(self, key: GroupKey, group: _Group) -> TrainableGroup | None:
        held = self._samples.get(key, {})
        samples: dict[str, Sample] = {}
        for credit in group.credits.samples:
            if not credit.trainable:
                continue
            one = held.get(credit.sample_id)
            if one is None or one.sample is None:
                return None
            samples[credit.sample_id] = one.sample
        return TrainableGroup(credits=group.credits, samples=samples)

    def _why_never(self, key: GroupKey, group: _Group, positions: Mapping[int, int]) -> str:
        """Why a group can never be trained; empty: it still can."""
        if self._complete(key, group) is not None:
            return ""
        held = self._samples.get(key, {})
        wanted = (held.get(s.sample_id) for s in group.credits.samples if s.trainable)
        if gone := next((one.gone for one in wanted if one and one.gone), ""):
            return gone
        read = positions.get(group.position.partition, 0)
        at_end = group.samples_end is not None and read >= group.samples_end
        return DropReason.SAMPLE_MISSING if at_end else ""

    def _evict_stale(self) -> None:
        oldest = self.version - self.config.max_staleness
        for held in self._samples.values():
            for one in held.values():
                if one.sample and min(one.sample.run_versions, default=oldest) < oldest:
                    self._evict(one, DropReason.STALE)

    def _evict_excess(self) -> None:
        for held in self._samples.values():  # in the order in which the groups appeared
            if self.held_bytes <= self.config.max_held_bytes:
                return
            for one in held.values():
                self._evict(one, DropReason.MEMORY)

    def _evict(self, one: _Held, why: str) -> None:
        if one.sample is not None:
            self.held_bytes -= _size(one.sample)
            one.sample, one.position, one.gone = None, None, why

    def _decide(self, key: GroupKey, *, trained: bool) -> None:
        credits = self._groups.pop(key).credits
        self.decided[key] = Decision(credits.version, trained)
        self._forget_samples(key)

    def _forget_samples(self, key: GroupKey) -> None:
        for one in self._samples.pop(key, {}).values():
            self._evict(one, DropReason.DECIDED)

    def _verdict(self, now_ms: int, reason: str, trained: Mapping[str, Sample]) -> Verdict:
        return Verdict(
            trainer=self.config.trainer,
            version=self.version,
            now_ms=now_ms,
            reason=reason,
            trained=trained,
        )


def _size(sample: Sample) -> int:
    tokens = len(sample.prompt_ids) + len(sample.sampled_ids) + len(sample.logprobs)
    return tokens + _SAMPLE_OVERHEAD


def _age(item: tuple[GroupKey, _Group]) -> tuple[int, Position]:
    position = item[1].position
    return position.log_time, position
