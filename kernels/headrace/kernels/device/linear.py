"""The LM head's matrix product with a softmax in its epilogue (K1, K2).

A program forms one tile of logits and either stores exp(logit - offset) in the inputs' type, or
nothing; in both cases the tile's row sums go out as one partial result. The offset of a row is
chosen beforehand (its target's logit, or its log-sum-exp), so no maximum is needed and no second
pass: bf16 has the range of fp32. Without a store, the tile's own maximum is the offset.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

import triton
import triton.language as tl

LOWEST = tl.constexpr(-1e30)
"""Stands for the maximum of no columns: finite, so that its product with a sum of 0 is 0."""
EXPONENT_LIMIT = tl.constexpr(76.0)
"""Exponents are held below this, so that neither they nor their sums overflow."""
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _finish(
    logits,
    inverse,
    offset,
    exponents,
    targets_ptr,
    target_ptr,
    peak_ptr,
    sum_ptr,
    weighted_ptr,
    row_start,
    rows,
    row_count,
    column_start,
    column_count,
    part,
    WIDTH: tl.constexpr,
    STORE: tl.constexpr,
    TARGETS: tl.constexpr,
):
    valid = (column_start + tl.arange(0, WIDTH) < column_count)[None, :]
    scaled = logits * inverse[:, None]
    inside = rows < row_count
    if TARGETS:
        # The target's logit as this product has it, so that it cancels against the sums.
        column = tl.load(targets_ptr + rows, mask=inside, other=-1) - column_start
        here = inside & (column >= 0) & (column < WIDTH)
        if tl.max(here.to(tl.int32), 0) > 0:  # few tiles hold a row's target
            at = tl.arange(0, WIDTH)[None, :] == column[:, None]
            tl.store(target_ptr + rows, tl.sum(tl.where(at, scaled, 0.0), 1), mask=here)
    if STORE:
        difference = tl.minimum(
            scaled - offset[:, None], EXPONENT_LIMIT, propagate_nan=tl.PropagateNan.ALL
        )
    else:
        offset = tl.max(tl.where(valid, scaled, LOWEST), 1)
        difference = scaled - offset[:, None]
    difference = tl.where(valid, difference, 0.0)
    exponent = tl.where(valid, tl.exp2(difference * LOG2_E), 0.0)
    place = part * row_count + rows
    tl.store(sum_ptr + place, tl.sum(exponent, 1), mask=inside)
    tl.store(weighted_ptr + place, tl.sum(exponent * difference, 1), mask=inside)
    if STORE:
        exponents.store([row_start, column_start], exponent.to(exponents.dtype))
    else:
        tl.store(peak_ptr + place, offset, mask=inside)


@triton.jit
def linear_kernel(
    hidden,
    weight,
    exponents,
    inverse_ptr,
    offset_ptr,
    targets_ptr,
    target_ptr,
    peak_ptr,
    sum_ptr,
    weighted_ptr,
    row_count,
    column_count,
    depth,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLIT: tl.constexpr,
    STORE: tl.constexpr,
    TARGETS: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """Tile (m, n) of hidden [M, H] · weightᵀ [H, V]; partial sums are [parts, M].

    Programs run down the rows first, so that a tile of the weight is read once into the cache.
    UPCAST: the interpreter multiplies bf16 wrongly.
    """
    row_tiles = tl.cdiv(row_count, BLOCK_M)
    row_tile = tl.program_id(0) % row_tiles
    column_tile = tl.program_id(0) // row_tiles
    row_start = row_tile * BLOCK_M
    column_start = column_tile * BLOCK_N
    logits = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for k in range(0, depth, BLOCK_K):
        left = hidden.load([row_start, k])
        right = weight.load([column_start, k])
        if UPCAST:
            left = left.to(tl.float32)
            right = right.to(tl.float32)
        logits = tl.dot(left, right.T, logits, input_precision="ieee")

    rows = row_start + tl.arange(0, BLOCK_M)
    inverse = tl.load(inverse_ptr + rows, mask=rows < row_count, other=0.0)
    offset = inverse
    if STORE:
        offset = tl.load(offset_ptr + rows, mask=rows < row_count, other=0.0)
    if SPLIT == 1:
        _finish(
            logits,
            inverse,
            offset,
            exponents,
            targets_ptr,
            target_ptr,
            peak_ptr,
            sum_ptr,
            weighted_ptr,
            row_start,
            rows,
            row_count,
            column_start,
            column_count,
            column_tile,
            BLOCK_N,
            STORE,
            TARGETS,
        )
    else:
        # Half a tile at a time, so that the exponents of both never live in registers at once.
        HALF: tl.constexpr = BLOCK_N // 2
        halves = logits.reshape(BLOCK_M, 2, HALF).permute(0, 2, 1)
        first, second = halves.split()
        _finish(
            first,
            inverse,
            offset,
            exponents,
            targets_ptr,
            target_ptr,
            peak_ptr,
            sum_ptr,
            weighted_ptr,
            row_start,
            rows,
            row_count,
            column_start,
            column_count,
            2 * column_tile,
            HALF,
            STORE,
            TARGETS,
        )
        _finish(
            second,
            inverse,
            offset,
            exponents,
            targets_ptr,
            target_ptr,
            peak_ptr,
            sum_ptr,
            weighted_ptr,
            row_start,
            rows,
            row_count,
            column_start + HALF,
            column_count,
            2 * column_tile + 1,
            HALF,
            STORE,
            TARGETS,
        )


@triton.jit
def strip_kernel(
    logits_ptr,
    exponents_ptr,
    inverse_ptr,
    offset_ptr,
    targets_ptr,
    target_ptr,
    peak_ptr,
    sum_ptr,
    weighted_ptr,
    row_count,
    column_start,
    column_count,
    logits_stride,
    exponents_stride,
    part,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    STORE: tl.constexpr,
    TARGETS: tl.constexpr,
):
    """The same of a strip of logits [M, columns] in fp32 that a matrix product left in memory."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < row_count
    inverse = tl.load(inverse_ptr + rows, mask=inside, other=0.0)
    wide = rows.to(tl.int64)[:, None]
    sums = tl.zeros([ROWS], tl.float32)
    weighted = tl.zeros([ROWS], tl.float32)
    peak = tl.zeros([ROWS], tl.float32) + LOWEST
    if STORE:
        peak = tl.load(offset_ptr + rows, mask=inside, other=0.0)
    for start in range(0, column_count, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        valid = inside[:, None] & (columns < column_count)[None, :]
        logits = tl.load(
            logits_ptr + wide * logits_stride + columns[None, :], mask=valid, other=0.0
        )
        scaled = logits * inverse[:, None]
        if STORE:
            difference = tl.minimum(
                scaled - peak[:, None], EXPONENT_LIMIT, propagate_nan=tl.PropagateNan.ALL
            )
        else:
            higher = tl.maximum(peak, tl.max(tl.where(valid, scaled, LOWEST), 1))
            fall = peak - higher
            shrink = tl.exp2(fall * LOG2_E)
            weighted = shrink * (weighted + tl.where(sums > 0, fall * sums, 0.0))
            sums = shrink * sums
            peak = higher
            difference = scaled - peak[:, None]
        difference = tl.where(valid, difference, 0.0)
        exponent = tl.where(valid, tl.exp2(difference * LOG2_E), 0.0)
        sums += tl.sum(exponent, 1)
        weighted += tl.sum(exponent * difference, 1)
        if STORE:
            tl.store(
                exponents_ptr + wide * exponents_stride + columns[None, :],
                exponent.to(exponents_ptr.dtype.element_ty),
                mask=valid,
            )
    if TARGETS:
        column = tl.load(targets_ptr + rows, mask=inside, other=-1) - column_start
        here = inside & (column >= 0) & (column < column_count)
        logit = tl.load(logits_ptr + rows.to(tl.int64) * logits_stride + column, mask=here)
        tl.store(target_ptr + rows, logit * inverse, mask=here)
    place = part * row_count + rows
    tl.store(sum_ptr + place, sums, mask=inside)
    tl.store(weighted_ptr + place, weighted, mask=inside)
    if not STORE:
        tl.store(peak_ptr + place, peak, mask=inside)
