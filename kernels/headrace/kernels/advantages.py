"""The advantages of REINFORCE++: returns-to-go, whitened over the batch.

Baselines of groups are formed where the groups are, before training
(`headrace.streams.credit`): the advantage comes with the sample.
"""

import torch
from torch import Tensor

from headrace.kernels.scan import discounted_returns


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
