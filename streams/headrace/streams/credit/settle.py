"""Credit of a group: members, rewards and advantages to the Credits record. Pure."""

import logging
from dataclasses import dataclass, field, replace

import numpy as np

from headrace.schemas import Credits, Member, SampleCredit
from headrace.schemas.vocabulary import GroupOutcome, MemberStatus, Split
from headrace.streams.credit.call import CreditedEpisode, CreditedGroup
from headrace.streams.credit.call.rewards import call_rewards
from headrace.streams.credit.members import MemberFacts
from headrace.streams.credit.method import CreditMethod
from headrace.streams.credit.running import BASELINE as RUNNING_MEAN
from headrace.streams.credit.state import GroupState

logger = logging.getLogger(__name__)

WEIGHTS_BYTES = 6_000_000
"""Token weights of a group beyond it would not fit into its record (8 MiB)."""


@dataclass(kw_only=True, slots=True, frozen=True)
class _Statistics:
    """What the rewards of a group say; advantages by rollout."""

    outcome: str
    baseline: str
    mean: float
    std: float
    advantages: dict[str, float] = field(default_factory=dict)
    of_calls: dict[str, list[float]] = field(default_factory=dict)
    """Advantages of the calls of each rollout that takes part."""
    earned: dict[str, list[float]] = field(default_factory=dict)
    """Rewards of its calls."""


def credits_of(state: GroupState, method: CreditMethod, rule: str) -> Credits:
    """Credit a group with what it has.

    Outcomes: `train`; `eval` (held out, never trained); `zero_advantage` (its rewards tell
    nothing); `reward_absent` and `group_incomplete` (fewer than max(2, size/2) episodes with a
    reward, because rewards or because episodes are lacking). An incomplete group with enough of
    them takes RLOO. Only samples of an outcome `train` may be trained.

    Args:
        state: the group, complete or past its deadline.
        method: the three stages.
        rule: `name@version` of the rule that gave the rewards.
    """
    chosen = state.chosen()
    statistics = _statistics(state, chosen, method)
    members = sorted(state.members.values(), key=lambda member: member.key)
    status = {member.key: _status(member, chosen) for member in members}
    advantage = {
        member.key: statistics.advantages.get(member.rollout_id, 0.0)
        if status[member.key] == MemberStatus.USED
        else 0.0
        for member in members
    }
    present = {member.rollout_id for member in members}
    return Credits(
        project=state.project,
        group_id=state.group_id,
        group_size=state.group_size,
        policy=state.policy,
        split=state.split,
        rule=rule,
        credit=method.id,
        version=state.version,
        log_first=state.log_first,
        outcome=statistics.outcome,
        baseline=statistics.baseline,
        mean=statistics.mean,
        std=statistics.std,
        members=[
            Member(
                rollout_id=member.rollout_id,
                attempt=member.attempt,
                episode_version=member.version,
                status=status[member.key],
                reward=member.reward.value,
                advantage=advantage[member.key],
                calls=len(member.calls),
                detail=member.reward.detail,
            )
            for member in members
        ],
        missing_rollouts=[r for r in state.group_rollouts if r not in present],
        samples=_within_record(
            [
                sample
                for member in members
                for sample in _samples(member, status[member.key], statistics, method)
            ]
        ),
    )


def _statistics(
    state: GroupState, chosen: dict[str, MemberFacts], method: CreditMethod
) -> _Statistics:
    rewards = {
        rollout: member.reward.value + method.overlong.of_calls(member.calls)
        for rollout, member in sorted(chosen.items())
        if member.reward.value is not None
    }
    values = np.array(list(rewards.values()), dtype=np.float64)
    name, baseline = method.baseline_of(complete=len(rewards) >= state.group_size)
    advantages = baseline(values)
    mean = float(values.mean()) if len(values) else 0.0
    if alone := method.running_mean > 0 and state.group_size == 1 and len(values) == 1:
        name, mean = RUNNING_MEAN, state.running.before
        advantages = state.running.advantages(values)
    taking_part = tuple(
        CreditedEpisode(reward=reward, advantage=advantage, calls=chosen[rollout].calls)
        for (rollout, reward), advantage in zip(rewards.items(), advantages.tolist(), strict=True)
    )
    compare = state.running.advantages if alone else baseline
    of_calls = method.call.advantages(CreditedGroup(episodes=taking_part, baseline=compare))
    # Calls may tell apart what episodes do not: a method may compare the calls of a group.
    telling = (
        method.tells_of_equals
        or bool(advantages.any())
        or any(bool(each.any()) for each in of_calls)
    )
    return _Statistics(
        outcome=_outcome(state, len(chosen), len(rewards), telling),
        baseline=name,
        mean=mean,
        std=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        advantages=dict(zip(rewards, advantages.tolist(), strict=True)),
        of_calls={rollout: each.tolist() for rollout, each in zip(rewards, of_calls, strict=True)},
        earned={
            rollout: call_rewards(each).tolist()
            for rollout, each in zip(rewards, taking_part, strict=True)
        },
    )


def _outcome(state: GroupState, present: int, rewarded: int, telling: bool) -> str:
    enough = max(2.0, state.group_size / 2)
    if state.split != Split.TRAIN:
        return GroupOutcome.EVAL
    if rewarded < state.group_size and rewarded < enough:
        absent = present >= min(enough, state.group_size)
        return GroupOutcome.REWARD_ABSENT if absent else GroupOutcome.GROUP_INCOMPLETE
    return GroupOutcome.TRAIN if telling else GroupOutcome.ZERO_ADVANTAGE


def _status(member: MemberFacts, chosen: dict[str, MemberFacts]) -> str:
    if member.cut_off:
        return member.reward.reason
    if not member.complete:
        return MemberStatus.INCOMPLETE
    if chosen[member.rollout_id] is not member:
        return MemberStatus.SUPERSEDED
    if member.reward.value is not None:
        return MemberStatus.USED
    return member.reward.reason or MemberStatus.REWARD_ABSENT


def _samples(
    member: MemberFacts, status: str, statistics: _Statistics, method: CreditMethod
) -> list[SampleCredit]:
    # Why a whole group or member is out says more than why one of its calls would be.
    used = status == MemberStatus.USED
    out = "" if used else status
    if statistics.outcome != GroupOutcome.TRAIN and status != MemberStatus.CANCELLED:
        out = statistics.outcome
    advantages = statistics.of_calls[member.rollout_id] if used else [0.0] * len(member.calls)
    earned = statistics.earned[member.rollout_id] if used else [None] * len(member.calls)
    samples = []
    for call, value, reward in zip(member.calls, advantages, earned, strict=True):
        reason = out or call.reason
        samples.append(
            SampleCredit(
                sample_id=call.sample_id,
                rollout_id=member.rollout_id,
                attempt=member.attempt,
                agent=call.agent,
                advantage=0.0 if reason else value,
                trainable=not reason,
                reason=reason,
                token_weights=None if reason else method.token.weights(call),
                reward=reward,
            )
        )
    return samples


def _within_record(samples: list[SampleCredit]) -> list[SampleCredit]:
    """Without any token weights where they are too many: all tokens of the group weigh the same."""
    if sum(len(sample.token_weights or b"") for sample in samples) <= WEIGHTS_BYTES:
        return samples
    logger.warning(
        "a group's token weights take up over %d bytes: its tokens are credited uniformly",
        WEIGHTS_BYTES,
    )
    return [replace(sample, token_weights=None) for sample in samples]
