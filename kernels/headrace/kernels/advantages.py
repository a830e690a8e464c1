"""Advantages: of the rollouts of a group, and the whitening of REINFORCE++.

Group statistics are over rollouts, never over rows or turns: one reward per rollout.
"""

from typing import Literal

import torch
from torch import Tensor

from headrace.kernels.scan import discounted_returns

Scale = Literal["sample", "population", "none"]
Baseline = Literal["mean", "leave_one_out", "none"]


def group_advantages(
    rewards: Tensor,
    groups: Tensor,
    *,
    baseline: Baseline = "mean",
    scale: Scale = "sample",
    eps: float = 1e-6,
    count: int | None = None,
) -> Tensor:
    """Advantage of every rollout [R] against its group.

    GRPO: `mean`, `sample` (arXiv 2402.03300). Dr.GRPO: `mean`, `none` (arXiv 2503.20783). RLOO:
    `leave_one_out`, `none` (arXiv 2402.14740). groups [R] int64 in [0, count) (without `count`,
    the largest is read from the device). The only rollout of a group has advantage 0.
    """
    if rewards.shape != groups.shape or rewards.ndim != 1:
        raise ValueError(
            f"rewards {tuple(rewards.shape)} and groups {tuple(groups.shape)} must both be [R]"
        )
    if rewards.numel() == 0:
        return rewards
    total = int(groups.max()) + 1 if count is None else count
    member = torch.nn.functional.one_hot(groups, total).to(rewards.dtype)
    size = member.sum(0)
    mean = (rewards @ member) / size.clamp(min=1)
    alone = (size < 2)[groups]
    centred = rewards if baseline == "none" else rewards - mean[groups]
    if baseline == "leave_one_out":
        centred = centred * (size / (size - 1).clamp(min=1))[groups]
    if scale != "none":
        spread = (rewards - mean[groups]).square() @ member
        freedom = size if scale == "population" else size - 1
        centred = centred / ((spread / freedom.clamp(min=1)).sqrt()[groups] + eps)
    return torch.where(alone, 0.0, centred)


def masked_whiten(values: Tensor, mask: Tensor, *, eps: float = 1e-8) -> Tensor:
    """(x - mean)·rsqrt(var + eps) over the mask, unbiased variance; zero outside the mask."""
    kept = mask != 0
    count = kept.sum()
    held = torch.where(kept, values, 0.0)
    centred = torch.where(kept, held - held.sum() / count.clamp(min=1), 0.0)
    variance = centred.square().sum() / (count - 1).clamp(min=1)
    return centred * torch.rsqrt(variance + eps)


def reinforce_pp_advantages(
    rewards: Tensor, mask: Tensor, cu_seqlens: Tensor, *, gamma: float = 1.0
) -> Tensor:
    """REINFORCE++ (arXiv 2501.03262): returns-to-go of token rewards, whitened over the batch.

    rewards [N] fp32 are per token: the outcome on the last sampled token, minus any KL penalty.
    Rows outside `mask` are skipped, their rewards too.
    """
    return masked_whiten(discounted_returns(rewards, cu_seqlens, gamma=gamma, mask=mask), mask)
