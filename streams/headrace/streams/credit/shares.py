"""A group's Credits as one record for each policy that its calls train. Pure."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from headrace.schemas import Credits, SampleCredit
from headrace.streams.credit.state import GroupState


def shares_of(state: GroupState, credits: Credits, trained: Collection[str]) -> Iterator[Credits]:
    """The group's Credits by policy, that of its tasks first.

    The first accounts for the group: it has every member, what never started, and the samples of
    its own policy and of those that nobody trains. Each other one has the samples of a further
    policy and the members that made them, so that each trainer ends its own samples and nobody
    else's. Statistics and advantages are the group's in all of them: the policies earned the
    reward together.

    Args:
        state: the group that was credited.
        credits: its Credits, whole.
        trained: policies that have a trainer.
    """
    owners = {
        call.sample_id: call.policy if call.policy in trained else state.policy
        for member in state.members.values()
        for call in member.calls
    }
    by_policy: dict[str, list[SampleCredit]] = {
        policy: [] for policy in (state.policy, *sorted(set(owners.values())))
    }
    for sample in credits.samples:
        by_policy[owners[sample.sample_id]].append(sample)
    for policy, samples in by_policy.items():
        if policy == state.policy:
            yield replace(credits, samples=samples)
            continue
        episodes = {(sample.rollout_id, sample.attempt) for sample in samples}
        yield replace(
            credits,
            policy=policy,
            samples=samples,
            members=[one for one in credits.members if (one.rollout_id, one.attempt) in episodes],
            missing_rollouts=[],
        )
