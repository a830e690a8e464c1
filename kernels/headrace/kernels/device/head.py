"""Host side of the kernels on the LM head: what is launched for a block of rows."""

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from headrace.kernels.device.glue import (
    bonus_kernel,
    combine_kernel,
    fix_kernel,
    offset_kernel,
    scale_kernel,
    scatter_kernel,
)
from headrace.kernels.device.product import (
    ALIGNMENT,
    FLAT,
    LANES,
    ROWS,
    Block,
    GradientTerms,
    Sums,
    row_programs,
    softmax_sums,
)

SCORED_ROWS = 4096
"""Rows that are scored at once: partial results take 12 bytes a row and tile of the vocabulary."""


class Statistics(NamedTuple):
    """Of each row of a block: log-sum-exp, and sum of exponents relative to its offset."""

    lse: Tensor
    total: Tensor


def gather(
    hidden: Tensor, targets: Tensor, inverse: Tensor, index: Tensor, active: Tensor | None
) -> Block:
    """The rows at `index`; rows that are not `active` become zeros (they may hold NaN)."""
    rows = hidden.index_select(0, index)
    if active is not None:
        rows = torch.where(active[index, None], rows, 0.0).to(hidden.dtype)
    return Block(rows, targets[index], inverse[index], index)


def exponents_buffer(rows: int, columns: int, like: Tensor) -> Tensor:
    """Uninitialised [rows, columns] in rows of aligned length."""
    padded = triton.cdiv(columns, ALIGNMENT) * ALIGNMENT
    return torch.empty((rows, padded), dtype=like.dtype, device=like.device)[:, :columns]


def offsets(block: Block, weight: Tensor, behaviour: Tensor) -> Tensor:
    """Offset of each row's exponents, from its target and the behaviour's log-probability."""
    count = block.hidden.shape[0]
    offset = torch.empty(count, dtype=torch.float32, device=weight.device)
    offset_kernel[row_programs(count)](
        block.hidden,
        weight,
        block.targets,
        block.inverse,
        behaviour,
        offset,
        count,
        weight.shape[0],
        weight.shape[1],
        block.hidden.stride(0),
        weight.stride(0),
        ROWS=ROWS,
        BLOCK=LANES,
    )
    return offset


def statistics(
    block: Block, offset: Tensor | None, sums: Sums, logp: Tensor, entropy: Tensor
) -> Statistics:
    """Combines partial sums; writes log-probability and entropy at the rows' places [N]."""
    count = block.hidden.shape[0]
    lse = torch.empty(count, dtype=torch.float32, device=logp.device)
    total = torch.empty_like(lse)
    combine_kernel[(triton.cdiv(count, FLAT),)](
        sums.target,
        offset,
        sums.peak,
        sums.sums,
        sums.weighted,
        block.places,
        logp,
        entropy,
        lse,
        total,
        count,
        sums.sums.shape[0],
        PEAK=sums.peak is not None,
        BLOCK=FLAT,
    )
    return Statistics(lse, total)


def score_rows(block: Block, weight: Tensor, logp: Tensor, entropy: Tensor) -> Tensor:
    """Forward only: writes log-probability and entropy at the rows' places; lse [M]."""
    sums = softmax_sums(block, weight)
    return statistics(block, None, sums, logp, entropy).lse


def row_scales(
    block: Block, slope: Tensor, outer: Tensor, total: Tensor, *, entropy: bool, scaled: bool
) -> tuple[Tensor, Tensor | None]:
    """The factor of each row of exponents in the gradients, and factor · hidden if wanted."""
    count, depth = block.hidden.shape
    scale = torch.empty_like(slope)
    out = torch.empty_like(block.hidden) if scaled else None
    scale_kernel[row_programs(count)](
        slope,
        outer,
        total,
        block.hidden,
        scale,
        out,
        count,
        depth,
        ENTROPY=entropy,
        HIDDEN=scaled,
        ROWS=ROWS,
        BLOCK=LANES,
    )
    return scale, out


def gradient_terms(
    logp: Tensor, entropy: Tensor, slope: Tensor, outer: Tensor, entropy_coef: float
) -> GradientTerms:
    """Terms of outer · (slope·(onehot - p) + c·p·(log p + H)), all [M]."""
    reach = slope * outer
    factor, at_target, bonus = -reach, -reach * torch.expm1(logp), torch.zeros_like(reach)
    if entropy_coef > 0.0:
        bonus = entropy_coef * outer
        factor = factor + bonus * entropy
        at_target = at_target + torch.exp(logp) * bonus * (logp + entropy)
    return GradientTerms(factor, bonus, at_target)


def to_gradient(
    exponents: Tensor,
    block: Block,
    logp: Tensor,
    entropy: Tensor,
    total: Tensor,
    slope: Tensor,
    entropy_coef: float,
) -> None:
    """Turns exponents, in place, into what `row_scales` times makes the gradient of logits."""
    count, columns = exponents.shape
    if entropy_coef == 0.0:
        fix_kernel[(triton.cdiv(count, FLAT),)](
            exponents,
            block.targets,
            block.places,
            logp,
            total,
            count,
            columns,
            exponents.stride(0),
            BLOCK=FLAT,
        )
        return
    bonus_kernel[row_programs(count)](
        exponents,
        block.targets,
        block.places,
        logp,
        entropy,
        total,
        slope,
        count,
        columns,
        exponents.stride(0),
        entropy_coef,
        ROWS=ROWS,
        BLOCK=LANES,
    )


def scatter_rows(values: Tensor, scale: Tensor, index: Tensor, out: Tensor) -> None:
    """out[index] = scale · values."""
    count, depth = values.shape
    scatter_kernel[row_programs(count)](
        values, scale, index, out, count, depth, ROWS=ROWS, BLOCK=LANES
    )
