"""The custom operators behind the scans: forward only."""

import torch
from torch import Tensor

from headrace.kernels.implementation import on_device
from headrace.kernels.operators import fake, operator


@operator("gae")
def gae_operator(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    bootstrap: Tensor,
    cu_seqlens: Tensor,
    gamma: float,
    lam: float,
    impl: str,
) -> Tensor:
    """Advantages [N]."""
    if impl == "torch":
        from headrace.kernels.scan.torch import gae_torch

        return gae_torch(rewards, values, mask, bootstrap, cu_seqlens, gamma, lam)
    from headrace.kernels.scan.triton import gae_triton

    with on_device(rewards):
        return gae_triton(rewards, values, mask, bootstrap, cu_seqlens, gamma, lam)


@fake("gae")
def _(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    bootstrap: Tensor,
    cu_seqlens: Tensor,
    gamma: float,
    lam: float,
    impl: str,
) -> Tensor:
    return torch.empty_like(rewards)


@operator("discounted_returns")
def returns_operator(
    rewards: Tensor, mask: Tensor, cu_seqlens: Tensor, gamma: float, impl: str
) -> Tensor:
    """Returns-to-go [N]."""
    if impl == "torch":
        from headrace.kernels.scan.torch import returns_torch

        return returns_torch(rewards, mask, cu_seqlens, gamma)
    from headrace.kernels.scan.triton import returns_triton

    with on_device(rewards):
        return returns_triton(rewards, mask, cu_seqlens, gamma)


@fake("discounted_returns")
def _(rewards: Tensor, mask: Tensor, cu_seqlens: Tensor, gamma: float, impl: str) -> Tensor:
    return torch.empty_like(rewards)


@operator("segment_sums")
def sums_operator(
    values: Tensor, mask: Tensor, cu_seqlens: Tensor, impl: str
) -> tuple[Tensor, Tensor]:
    """Sum [S] and number of rows [S] of each sequence, over the mask."""
    if impl == "torch":
        from headrace.kernels.scan.torch import sums_torch

        return sums_torch(values, mask, cu_seqlens)
    from headrace.kernels.device.segments import sums_triton

    with on_device(values):
        return sums_triton(values, mask, cu_seqlens)


@fake("segment_sums")
def _(values: Tensor, mask: Tensor, cu_seqlens: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    shape = (cu_seqlens.shape[0] - 1,)
    return values.new_empty(shape), values.new_empty(shape)
