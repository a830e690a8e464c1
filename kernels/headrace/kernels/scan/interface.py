"""Returns and segment sums, and the checks that all scans share.

Sequences are packed: sequence s is rows cu_seqlens[s] to cu_seqlens[s+1] (int64 or int32, rising
from 0). Rows after the last bound belong to none. Rows of mask 0 (prompt, tool output) are skipped:
their inputs may hold anything and their outputs are 0.
"""

import torch
from torch import Tensor

from headrace.kernels.implementation import Impl, check_impl, choose
from headrace.kernels.scan.operators import returns_operator, sums_operator

SCAN_DTYPES = (torch.float32,)


def discounted_returns(
    rewards: Tensor,
    cu_seqlens: Tensor,
    *,
    gamma: float = 1.0,
    mask: Tensor | None = None,
    impl: Impl = "auto",
) -> Tensor:
    """G_t = r_t + gamma · G_{t+1} within each sequence, [N]; skipped rows carry G on undiscounted.

    rewards [N] fp32 or float64; mask [N]. Raises ValueError on shapes that do not fit.
    """
    keep = checked(rewards, cu_seqlens, mask, impl)
    return returns_operator(
        rewards.detach(), keep, cu_seqlens, gamma, choose(impl, SCAN_DTYPES, rewards)
    )


def segment_sums(
    values: Tensor, cu_seqlens: Tensor, *, mask: Tensor | None = None, impl: Impl = "auto"
) -> Tensor:
    """Sum of each sequence's values [N] over the mask: [S]."""
    keep = checked(values, cu_seqlens, mask, impl)
    sums, _ = sums_operator(values.detach(), keep, cu_seqlens, choose(impl, SCAN_DTYPES, values))
    return sums


def segment_means(
    values: Tensor, cu_seqlens: Tensor, *, mask: Tensor | None = None, impl: Impl = "auto"
) -> Tensor:
    """Mean of each sequence's values [N] over the mask: [S]; 0 where the mask is empty."""
    keep = checked(values, cu_seqlens, mask, impl)
    sums, counts = sums_operator(
        values.detach(), keep, cu_seqlens, choose(impl, SCAN_DTYPES, values)
    )
    return sums / counts.clamp(min=1)


def checked(values: Tensor, cu_seqlens: Tensor, mask: Tensor | None, impl: str) -> Tensor:
    """The mask as bool [N], ones without one; refuses what does not fit."""
    check_impl(impl)
    if values.ndim != 1 or values.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"values are {values.dtype} {tuple(values.shape)}: they must be fp32 or float64 [N]"
        )
    if cu_seqlens.ndim != 1 or cu_seqlens.numel() < 1 or cu_seqlens.is_floating_point():
        raise ValueError(
            f"cu_seqlens is {cu_seqlens.dtype} {tuple(cu_seqlens.shape)}: it must be integers [S+1]"
        )
    if mask is None:
        return torch.ones_like(values, dtype=torch.bool)
    if mask.shape != values.shape:
        raise ValueError(f"mask is {tuple(mask.shape)}: it must be [N] = {tuple(values.shape)}")
    return mask != 0
