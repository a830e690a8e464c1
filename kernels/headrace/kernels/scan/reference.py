"""Float64 reference of the scans: a plain loop over the tokens of each sequence, from the end."""

from itertools import pairwise

import torch
from torch import Tensor


def gae_reference(
    rewards: Tensor,
    values: Tensor,
    cu_seqlens: Tensor,
    *,
    gamma: float,
    lam: float,
    mask: Tensor,
    bootstrap: Tensor,
) -> Tensor:
    """Advantages [N] in float64."""
    out = torch.zeros(rewards.shape[0], dtype=torch.float64)
    bounds = cu_seqlens.tolist()
    for sequence, (start, stop) in enumerate(pairwise(bounds)):
        following, running = float(bootstrap[sequence]), 0.0
        for t in reversed(range(start, stop)):
            if not mask[t]:
                continue
            value = float(values[t])
            running = float(rewards[t]) + gamma * following - value + gamma * lam * running
            following = value
            out[t] = running
    return out


def returns_reference(rewards: Tensor, cu_seqlens: Tensor, *, gamma: float, mask: Tensor) -> Tensor:
    """Returns-to-go [N] in float64."""
    return gae_reference(
        rewards,
        torch.zeros_like(rewards),
        cu_seqlens,
        gamma=gamma,
        lam=1.0,
        mask=mask,
        bootstrap=torch.zeros(cu_seqlens.shape[0] - 1),
    )
