"""Triton: one fused matrix product and softmax a block of rows, then a combination of its parts."""

import torch
from torch import Tensor

from headrace.kernels.device.head import SCORED_ROWS, score_rows
from headrace.kernels.device.product import Block


def linear_logp_triton(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    inverse_temperature: Tensor,
    chunk_rows: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`linear_logp` after its checks: logp, lse, entropy."""
    rows = hidden.shape[0]
    logp, lse, entropy = torch.zeros((3, rows), dtype=torch.float32, device=hidden.device).unbind()
    step = chunk_rows or SCORED_ROWS
    for start in range(0, rows, step):
        part = slice(start, min(start + step, rows))
        block = Block(
            hidden[part].contiguous(),
            targets[part],
            inverse_temperature[part],
            torch.arange(part.start, part.stop, device=hidden.device),
        )
        lse[part] = score_rows(block, weight, logp, entropy)
    return logp.clone(), lse.clone(), entropy.clone()
