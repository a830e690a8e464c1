"""A group of the trainer's tests: its credits, and the samples they credit."""

import numpy as np

from headrace.schemas import Credits, Member, Sample, SampleCredit, partition_of

GROUP = 2
"""Rollouts of a group."""


def credits_of(policy: str, group: str, *, version: int = 10, log_first: int = 0) -> Credits:
    """Credits of a group that is complete; its first rollout did better than its second."""
    rollouts = [f"{group}-{i}" for i in range(GROUP)]
    return Credits(
        group_id=group,
        group_size=GROUP,
        policy=policy,
        rule="r@1",
        credit="grpo@1",
        version=version,
        log_first=log_first,
        members=[
            Member(rollout_id=r, attempt="a", episode_version=5, status="used", reward=i)
            for i, r in enumerate(rollouts)
        ],
        samples=[
            SampleCredit(sample_id=f"{r}/a/s/0", rollout_id=r, attempt="a", advantage=1.0 - 2.0 * i)
            for i, r in enumerate(rollouts)
        ],
    )


def samples_of(credits: Credits, version: int) -> list[Sample]:
    """The samples of a group's credits, all tokens of one policy version; drawn by its id."""
    random = np.random.default_rng(partition_of(credits.group_id, 1 << 30))
    return [
        Sample(
            sample_id=sample.sample_id,
            rollout_id=sample.rollout_id,
            attempt=sample.attempt,
            group_id=credits.group_id,
            policy=credits.policy,
            prompt_ids=random.integers(0, 250, 6).astype("<u4").tobytes(),
            sampled_ids=random.integers(0, 250, 4).astype("<u4").tobytes(),
            logprobs=np.full(4, -5.6, "<f4").tobytes(),
            run_versions=[version],
            run_lengths=[4],
        )
        for sample in credits.samples
    ]
