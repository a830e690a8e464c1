"""The custom operator behind `linear_logp`: forward only."""

import torch
from torch import Tensor

from headrace.kernels.implementation import on_device
from headrace.kernels.operators import fake, operator


@operator("linear_logp")
def linear_logp_operator(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    inverse_temperature: Tensor,
    chunk_rows: int | None,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """logp, lse, entropy, each [N]."""
    if impl == "torch":
        from headrace.kernels.logp.torch import linear_logp_torch

        out = linear_logp_torch(hidden, weight, targets, inverse_temperature, chunk_rows)
        return out.logp.clone(), out.lse.clone(), out.entropy.clone()
    from headrace.kernels.logp.triton import linear_logp_triton

    with on_device(hidden):
        return linear_logp_triton(hidden, weight, targets, inverse_temperature, chunk_rows)


@fake("linear_logp")
def _(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    inverse_temperature: Tensor,
    chunk_rows: int | None,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = (torch.empty_like(inverse_temperature) for _ in range(3))
    return first, second, third
