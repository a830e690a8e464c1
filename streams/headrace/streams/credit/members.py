"""What a group keeps of an Episode: all that credit needs, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.connectors.engines.roles import Roles
from headrace.schemas import Episode, EpisodeCall, ids
from headrace.schemas.vocabulary import InfrastructureEnd, MemberStatus, SpanStatus, Untrainable
from headrace.streams.reward import RewardResult, Rule, evaluate


@dataclass(kw_only=True, slots=True, frozen=True)
class MemberCall:
    """One call of a member.

    `policy`: whose version answered it; empty: none's. `reason` says why it may not be trained;
    empty: it may. `reward`: what was aimed at it, None for nothing. `observed`: what the call
    method noted of it.
    """

    sample_id: str
    agent: str
    policy: str = ""
    reason: str
    version_min: int
    version_max: int
    tokens: int
    reward: float | None = None
    observed: str = ""


@dataclass(kw_only=True, slots=True, frozen=True)
class MemberFacts:
    """One episode of a group, in its newest version. `log_time` is the Episode record's."""

    rollout_id: str
    attempt: str
    version: int
    complete: bool
    closed_status: str
    reward: RewardResult
    log_time: int
    calls: tuple[MemberCall, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Its episode: rollout and attempt."""
        return self.rollout_id, self.attempt

    @property
    def usable(self) -> bool:
        """Whether it may represent its rollout: whole, and not ended by infrastructure."""
        return self.complete and not self.cut_off

    @property
    def cut_off(self) -> bool:
        """Whether infrastructure or a person ended it: it is no result."""
        return self.cancelled or self.reward.reason == MemberStatus.INFRASTRUCTURE

    @property
    def cancelled(self) -> bool:
        """Whether its rollout was taken back: it gets no other attempt."""
        return self.reward.reason == MemberStatus.CANCELLED


def reward_of(rule: Rule, episode: Episode) -> RewardResult:
    """What the rule says of an Episode; it is not asked of one that was cut off.

    An agent's own crash or time-out is a result. One that ended well is one too, whatever
    happened on the way.
    """
    if _is_cut_off(episode):
        taken_back = episode.signals.get(InfrastructureEnd.CANCELLED)
        return RewardResult(
            reason=MemberStatus.CANCELLED if taken_back else MemberStatus.INFRASTRUCTURE
        )
    return evaluate(rule, episode)


def _is_cut_off(episode: Episode) -> bool:
    marked = any(episode.signals.get(end) for end in InfrastructureEnd)
    # A runner ends every attempt, at the latest at its deadline. One that did not is gone, or the
    # attempt goes on after a long silence: then the end is still to come.
    vanished = episode.deadline > 0 and episode.status == SpanStatus.UNSET
    return vanished or (marked and episode.status != SpanStatus.OK)


def member_of(
    episode: Episode,
    reward: RewardResult,
    log_time: int,
    roles: Roles,
    observed: Sequence[str],
) -> MemberFacts:
    """The facts of an Episode whose reward has been asked for; `observed`: of each of its calls."""
    rewards = reward.calls or (None,) * len(episode.calls)
    return MemberFacts(
        rollout_id=episode.rollout_id,
        attempt=episode.attempt,
        version=episode.version,
        complete=episode.complete,
        closed_status=episode.status,
        reward=reward,
        log_time=log_time,
        calls=tuple(
            MemberCall(
                sample_id=ids.sample_id(episode.rollout_id, episode.attempt, call.span_id),
                agent=call.agent,
                policy=call.policy,
                reason=_why_not(call, episode.policy, roles),
                version_min=call.version_min,
                version_max=call.version_max,
                tokens=call.completion_tokens,
                reward=given,
                observed=noted,
            )
            for call, given, noted in zip(episode.calls, rewards, observed, strict=True)
        ),
    )


def _why_not(call: EpisodeCall, policy: str, roles: Roles) -> str:
    # An attempt that named no policy trains whichever policy its calls were sampled from.
    if other := roles.why_not(call.agent, call.policy, policy):
        return other
    if call.trainable:
        return ""
    return call.untrainable_reason or Untrainable.UNEXPLAINED
