"""Outcomes of a decided group: one per sample, and one per rollout that made none. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from headrace.schemas import Credits, Member, Outcome, Sample, SampleCredit
from headrace.schemas.vocabulary import DropReason, MemberStatus, SampleOutcome, Untrainable
from headrace.trainer.held import LeftOut

_PASSED_OVER = frozenset(
    {MemberStatus.INCOMPLETE, MemberStatus.INFRASTRUCTURE, MemberStatus.SUPERSEDED}
)
"""Status of an attempt that neither stood for its rollout nor ended it."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Verdict:
    """How a group ended, and when.

    `trained` are the samples that were trained, by id; `reason` is why the trainable ones were not
    (empty: they were), `detail` what exactly.
    """

    trainer: str
    version: int
    """Version the trainer was at: a trained sample belongs to the step to the next one."""
    now_ms: int
    reason: str = ""
    detail: str = ""
    trained: Mapping[str, Sample]
    age: Callable[[int], int | None]
    """Steps that a version lies behind."""
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    """Trainable samples that were left out alone, by id, and why."""


def outcomes_of(credits: Credits, verdict: Verdict) -> list[Outcome]:
    """The outcomes of a group."""
    return [*_of_samples(credits, verdict), *_of_rollouts(credits, verdict)]


def _of_samples(credits: Credits, verdict: Verdict) -> Iterator[Outcome]:
    members = _members(credits)
    for sample in credits.samples:
        if sample.sample_id in verdict.trained:
            why = ""
        elif not sample.trainable:
            why = sample.reason or Untrainable.UNEXPLAINED
        elif sample.sample_id in verdict.left_out:
            why = verdict.left_out[sample.sample_id].reason
        else:
            why = verdict.reason or DropReason.NOT_TRAINED
        member = members.get((sample.rollout_id, sample.attempt))
        yield _outcome(credits, verdict, sample.rollout_id, member, why, sample)


def _of_rollouts(credits: Credits, verdict: Verdict) -> Iterator[Outcome]:
    """A rollout without any sample ends as the attempt that stood for it, or else as its first."""
    sampled = {sample.rollout_id for sample in credits.samples}
    attempts: dict[str, Member] = {}
    for member in credits.members:
        held = attempts.get(member.rollout_id)
        if member.rollout_id not in sampled and (held is None or _weight(member) > _weight(held)):
            attempts[member.rollout_id] = member
    for member in attempts.values():
        why = verdict.reason or (
            member.status if member.status != MemberStatus.USED else DropReason.NO_CALL
        )
        if member.status == MemberStatus.CANCELLED:
            why = member.status
        yield _outcome(credits, verdict, member.rollout_id, member, why)
    for rollout_id in credits.missing_rollouts:
        yield _outcome(credits, verdict, rollout_id, None, DropReason.NEVER_STARTED)


def _members(credits: Credits) -> dict[tuple[str, str], Member]:
    """By rollout and attempt: a group may have very many."""
    return {(one.rollout_id, one.attempt): one for one in reversed(credits.members)}


def _weight(member: Member) -> int:
    """How much an attempt says of its rollout's end: a result most, what was passed over least."""
    if member.status in _PASSED_OVER:
        return 0
    return 1 if member.status == MemberStatus.CANCELLED else 2


def _outcome(
    credits: Credits,
    verdict: Verdict,
    rollout_id: str,
    member: Member | None,
    why: str,
    sample: SampleCredit | None = None,
) -> Outcome:
    tokens = verdict.trained.get(sample.sample_id) if sample else None
    versions = tokens.run_versions if tokens else [-1]
    detail = ""
    if sample is not None and (left_out := verdict.left_out.get(sample.sample_id)):
        detail = left_out.detail
    elif why and why == verdict.reason:
        detail = verdict.detail
    elif member is not None and why == member.status:
        detail = member.detail
    return Outcome(
        project=credits.project,
        rollout_id=rollout_id,
        attempt=sample.attempt if sample else member.attempt if member else "",
        sample_id=sample.sample_id if sample else "",
        group_id=credits.group_id,
        agent=sample.agent if sample else "",
        policy=credits.policy,
        outcome=SampleOutcome.DROPPED if why else SampleOutcome.TRAINED,
        reason=why,
        detail=detail,
        trainer=verdict.trainer,
        step=verdict.version if why else verdict.version + 1,
        version_min=min(versions),
        version_max=max(versions),
        staleness=verdict.age(min(versions)) or 0 if tokens else 0,
        advantage=sample.advantage if sample else None,
        reward=member.reward if member is not None else None,
        tokens=sum(tokens.run_lengths) if tokens else 0,
        rule=credits.rule,
        credit=credits.credit,
        credits_version=credits.version,
        decided_at=verdict.now_ms,
    )
