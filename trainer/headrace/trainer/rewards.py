"""What each trained call earned, for a trainer with a critic. Pure."""

from collections.abc import Container

from headrace.schemas import Credits, SampleCredit
from headrace.schemas.vocabulary import MemberStatus


def rewards_of(credits: Credits, trained: Container[str]) -> dict[str, float]:
    """Rewards of the trained samples of a group, by sample id.

    A call's reward reaches each agent at its last trained call before it, or at that call itself:
    what comes before an agent's first call is no consequence of it. So with one agent whose calls
    are all trained the rewards of an episode sum to that of its member. Credits of before rewards
    of calls were told give the episode's with its last call.
    """
    found: dict[str, float] = {}
    of_member: dict[tuple[str, str], list[SampleCredit]] = {}
    for one in credits.samples:
        of_member.setdefault((one.rollout_id, one.attempt), []).append(one)
        if one.sample_id in trained:
            found[one.sample_id] = 0.0
    for member in credits.members:
        if member.status != MemberStatus.USED:
            continue
        calls = of_member.get((member.rollout_id, member.attempt), [])
        told = any(one.reward is not None for one in calls)
        latest: dict[str, str] = {}
        for one in calls:
            if one.sample_id in trained:
                latest[one.agent] = one.sample_id
            earned = one.reward if told else member.reward if one is calls[-1] else 0.0
            for sample_id in latest.values():
                found[sample_id] += earned or 0.0
    return found
