"""Host side of the kernels on the LM head: what is launched for a block of rows."""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from headrace.kernels.device.glue import (
    bonus_kernel,
    combine_kernel,
    fix_kernel,
    offset_kernel,
    scale_kernel,
    scatter_kernel,
)
from headrace.kernels.device.linear import linear_kernel, strip_kernel
from headrace.kernels.device.tiles import Tile, tile_for
from headrace.kernels.implementation import interpreted

ROWS = 32 if interpreted() else 1
WIDE = 32 if interpreted() else 1024
FLAT = 32 if interpreted() else 128
STRIP_BYTES = 1 << 14 if interpreted() else 32 << 20
"""Logits of a strip in fp32, small enough to stay in the cache between its two readers."""
ALIGNMENT = 64
"""Columns to which rows of exponents are padded, for the alignment that descriptors need."""


class Block(NamedTuple):
    """A block of rows, gathered: all [M]."""

    hidden: Tensor
    """[M, H], contiguous."""
    targets: Tensor
    inverse: Tensor
    """1 / temperature."""
    places: Tensor
    """Where each row stands among all."""


class Sums(NamedTuple):
    """Partial results [parts, M] of the rows' softmax."""

    target: Tensor | None
    """Logit / temperature of the rows' targets [M]."""
    peak: Tensor | None
    sums: Tensor
    weighted: Tensor


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
    offset_kernel[_rows(count)](
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
        BLOCK=WIDE,
    )
    return offset


def softmax_sums(
    block: Block,
    weight: Tensor,
    offset: Tensor | None,
    exponents: Tensor | None,
    *,
    targets: bool = True,
) -> Sums:
    """Sums of the rows' softmax over `weight`; with an offset, exp(logit - offset) is stored."""
    # A target that no tile holds lies outside the vocabulary: its row is NaN.
    count = block.hidden.shape[0]
    target = None
    if targets:
        target = torch.full((count,), torch.nan, dtype=torch.float32, device=weight.device)
    tile = tile_for(weight.dtype, weight.shape[1], weight.device)
    if tile is not None and _fits_descriptor(block.hidden) and _fits_descriptor(weight):
        return _fused(tile, block, weight, offset, exponents, target)
    return _strips(block, weight, offset, exponents, target)


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
    sums = softmax_sums(block, weight, None, None)
    return statistics(block, None, sums, logp, entropy).lse


def row_scales(
    block: Block, slope: Tensor, outer: Tensor, total: Tensor, *, entropy: bool, scaled: bool
) -> tuple[Tensor, Tensor | None]:
    """The factor of each row of exponents in the gradients, and factor · hidden if wanted."""
    count, depth = block.hidden.shape
    scale = torch.empty_like(slope)
    out = torch.empty_like(block.hidden) if scaled else None
    scale_kernel[_rows(count)](
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
        BLOCK=WIDE,
    )
    return scale, out


def to_gradient(
    exponents: Tensor,
    block: Block,
    logp: Tensor,
    entropy: Tensor,
    total: Tensor,
    slope: Tensor,
    entropy_coef: float,
    column_start: int = 0,
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
            column_start,
            columns,
            exponents.stride(0),
            BLOCK=FLAT,
        )
        return
    bonus_kernel[_rows(count)](
        exponents,
        block.targets,
        block.places,
        logp,
        entropy,
        total,
        slope,
        count,
        column_start,
        columns,
        exponents.stride(0),
        entropy_coef,
        ROWS=ROWS,
        BLOCK=WIDE,
    )


def scatter_rows(values: Tensor, scale: Tensor, index: Tensor, out: Tensor) -> None:
    """out[index] = scale · values."""
    count, depth = values.shape
    scatter_kernel[_rows(count)](values, scale, index, out, count, depth, ROWS=ROWS, BLOCK=WIDE)


def product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right in fp32."""
    if left.dtype == torch.float32:
        return left @ right
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out += left @ right, out in fp32."""
    if left.dtype == torch.float32 or not left.is_cuda:
        out.addmm_(left.float(), right.float())
    else:
        torch.addmm(out, left, right, out_dtype=torch.float32, out=out)


def _fused(
    tile: Tile,
    block: Block,
    weight: Tensor,
    offset: Tensor | None,
    exponents: Tensor | None,
    target: Tensor | None,
) -> Sums:
    count, depth = block.hidden.shape
    columns = weight.shape[0]
    row_tiles, column_tiles = triton.cdiv(count, tile.rows), triton.cdiv(columns, tile.columns)
    sums = _new_sums(tile.split * column_tiles, block, target, peaks=offset is None)
    store = None
    if exponents is not None:
        store = TensorDescriptor.from_tensor(exponents, [tile.rows, tile.columns // tile.split])
    linear_kernel[(row_tiles * column_tiles,)](
        TensorDescriptor.from_tensor(block.hidden, [tile.rows, tile.depth]),
        TensorDescriptor.from_tensor(weight, [tile.columns, tile.depth]),
        store,
        block.inverse,
        offset,
        block.targets,
        target,
        sums.peak,
        sums.sums,
        sums.weighted,
        count,
        columns,
        depth,
        BLOCK_M=tile.rows,
        BLOCK_N=tile.columns,
        BLOCK_K=tile.depth,
        SPLIT=tile.split,
        STORE=offset is not None,
        TARGETS=target is not None,
        UPCAST=interpreted(),
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return sums


def _strips(
    block: Block,
    weight: Tensor,
    offset: Tensor | None,
    exponents: Tensor | None,
    target: Tensor | None,
) -> Sums:
    """The library's matrix product, a strip of the vocabulary at a time, into fp32 logits."""
    count, columns = block.hidden.shape[0], weight.shape[0]
    width = max(ALIGNMENT, STRIP_BYTES // (4 * count) // ALIGNMENT * ALIGNMENT)
    sums = _new_sums(triton.cdiv(columns, width), block, target, peaks=offset is None)
    for part, start in enumerate(range(0, columns, width)):
        strip = weight[start : start + width]
        logits = product(block.hidden, strip.t())
        store = None if exponents is None else exponents[:, start : start + width]
        strip_kernel[_rows(count)](
            logits,
            store,
            block.inverse,
            offset,
            block.targets,
            target,
            sums.peak,
            sums.sums,
            sums.weighted,
            count,
            start,
            strip.shape[0],
            logits.stride(0),
            0 if store is None else store.stride(0),
            part,
            ROWS=ROWS,
            BLOCK=WIDE,
            STORE=offset is not None,
            TARGETS=target is not None,
        )
    return sums


def _new_sums(parts: int, block: Block, target: Tensor | None, *, peaks: bool) -> Sums:
    count = block.hidden.shape[0]

    def empty() -> Tensor:
        return torch.empty((parts, count), dtype=torch.float32, device=block.hidden.device)

    return Sums(target, empty() if peaks else None, empty(), empty())


def _fits_descriptor(matrix: Tensor) -> bool:
    """Whether rows start at multiples of 16 bytes, which the bulk copy engine needs."""
    size = matrix.element_size()
    return (
        matrix.stride(1) == 1
        and matrix.stride(0) * size % 16 == 0
        and (matrix.data_ptr() % 16 == 0)
    )


def _rows(count: int) -> Any:
    return (triton.cdiv(count, ROWS),)
