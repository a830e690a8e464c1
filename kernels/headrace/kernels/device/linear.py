"""The LM head's matrix product with a softmax in its epilogue, in three modes:

- `sums`: the row sums of each tile's softmax, nothing else; the tile's own maximum is the offset.
- `exponents`: the same, and exp(logit - offset) is stored in the inputs' type. The offset of a row
  is chosen beforehand (its target's logit), so no maximum is needed and no second pass: bf16 has
  the range of fp32.
- `gradient`: the offset is the row's log-sum-exp, so the exponent is the probability p, and
  p · (factor + bonus · log p) is stored, which is the gradient of every logit but the target's.
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
def _bounded(difference):
    """A logit above its offset, held below the limit; NaN stays NaN."""
    return tl.minimum(difference, EXPONENT_LIMIT, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _finish(
    logits,
    inverse,
    offset,
    factor,
    bonus,
    stored,
    sinks,
    row_start,
    rows,
    row_count,
    column_start,
    column_count,
    part,
    WIDTH: tl.constexpr,
    MODE: tl.constexpr,
):
    """`sinks`: pointers to targets, their logits, and the partial peaks, sums, weighted sums."""
    targets_ptr, target_ptr, peak_ptr, sum_ptr, weighted_ptr = sinks
    valid = (column_start + tl.arange(0, WIDTH) < column_count)[None, :]
    scaled = logits * inverse[:, None]
    inside = rows < row_count
    if MODE != "gradient":
        # The target's logit as this product has it, so that it cancels against the sums.
        column = tl.load(targets_ptr + rows, mask=inside, other=-1) - column_start
        here = inside & (column >= 0) & (column < WIDTH)
        if tl.max(here.to(tl.int32), 0) > 0:  # few tiles hold a row's target
            at = tl.arange(0, WIDTH)[None, :] == column[:, None]
            tl.store(target_ptr + rows, tl.sum(tl.where(at, scaled, 0.0), 1), mask=here)
    if MODE == "sums":
        offset = tl.max(tl.where(valid, scaled, LOWEST), 1)
    difference = scaled - offset[:, None]
    if MODE == "exponents":
        difference = _bounded(difference)
    difference = tl.where(valid, difference, 0.0)
    exponent = tl.where(valid, tl.exp2(difference * LOG2_E), 0.0)
    if MODE == "gradient":
        value = exponent * (factor[:, None] + bonus[:, None] * difference)
        stored.store([row_start, column_start], value.to(stored.dtype))
    else:
        place = part * row_count + rows
        tl.store(sum_ptr + place, tl.sum(exponent, 1), mask=inside)
        tl.store(weighted_ptr + place, tl.sum(exponent * difference, 1), mask=inside)
        if MODE == "exponents":
            stored.store([row_start, column_start], exponent.to(stored.dtype))
        else:
            tl.store(peak_ptr + place, offset, mask=inside)


@triton.jit
def linear_kernel(
    hidden,
    weight,
    stored,
    inverse_ptr,
    offset_ptr,
    factor_ptr,
    bonus_ptr,
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
    MODE: tl.constexpr,
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
    inside = rows < row_count
    inverse = tl.load(inverse_ptr + rows, mask=inside, other=0.0)
    offset, factor, bonus = inverse, inverse, inverse
    if MODE != "sums":
        offset = tl.load(offset_ptr + rows, mask=inside, other=0.0)
    if MODE == "gradient":
        factor = tl.load(factor_ptr + rows, mask=inside, other=0.0)
        bonus = tl.load(bonus_ptr + rows, mask=inside, other=0.0)
    # Half a tile at a time, so that the exponents of both never live in registers at once.
    WIDTH: tl.constexpr = BLOCK_N // SPLIT
    parts = (logits,)
    if SPLIT == 2:
        parts = logits.reshape(BLOCK_M, 2, WIDTH).permute(0, 2, 1).split()
    for half in tl.static_range(SPLIT):
        _finish(
            parts[half],
            inverse,
            offset,
            factor,
            bonus,
            stored,
            (targets_ptr, target_ptr, peak_ptr, sum_ptr, weighted_ptr),
            row_start,
            rows,
            row_count,
            column_start + half * WIDTH,
            column_count,
            SPLIT * column_tile + half,
            WIDTH,
            MODE,
        )


@triton.jit
def strip_kernel(
    logits_ptr,
    stored_ptr,
    inverse_ptr,
    offset_ptr,
    factor_ptr,
    bonus_ptr,
    targets_ptr,
    target_ptr,
    peak_ptr,
    sum_ptr,
    weighted_ptr,
    row_count,
    column_start,
    column_count,
    logits_stride,
    stored_stride,
    part,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    MODE: tl.constexpr,
):
    """The same of a strip of logits [M, columns] in fp32 that a matrix product left in memory."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < row_count
    inverse = tl.load(inverse_ptr + rows, mask=inside, other=0.0)
    wide = rows.to(tl.int64)[:, None]
    sums = tl.zeros([ROWS], tl.float32)
    weighted = tl.zeros([ROWS], tl.float32)
    peak = tl.zeros([ROWS], tl.float32) + LOWEST
    factor, bonus = inverse, inverse
    if MODE != "sums":
        peak = tl.load(offset_ptr + rows, mask=inside, other=0.0)
    if MODE == "gradient":
        factor = tl.load(factor_ptr + rows, mask=inside, other=0.0)
        bonus = tl.load(bonus_ptr + rows, mask=inside, other=0.0)
    for start in range(0, column_count, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        valid = inside[:, None] & (columns < column_count)[None, :]
        logits = tl.load(
            logits_ptr + wide * logits_stride + columns[None, :], mask=valid, other=0.0
        )
        scaled = logits * inverse[:, None]
        if MODE == "sums":
            higher = tl.maximum(peak, tl.max(tl.where(valid, scaled, LOWEST), 1))
            fall = peak - higher
            shrink = tl.exp2(fall * LOG2_E)
            weighted = shrink * (weighted + tl.where(sums > 0, fall * sums, 0.0))
            sums = shrink * sums
            peak = higher
        difference = scaled - peak[:, None]
        if MODE == "exponents":
            difference = _bounded(difference)
        difference = tl.where(valid, difference, 0.0)
        exponent = tl.where(valid, tl.exp2(difference * LOG2_E), 0.0)
        sums += tl.sum(exponent, 1)
        weighted += tl.sum(exponent * difference, 1)
        if MODE != "sums":
            value = exponent
            if MODE == "gradient":
                value = exponent * (factor[:, None] + bonus[:, None] * difference)
            place = stored_ptr + wide * stored_stride + columns[None, :]
            tl.store(place, value.to(stored_ptr.dtype.element_ty), mask=valid)
    if MODE != "gradient":
        column = tl.load(targets_ptr + rows, mask=inside, other=-1) - column_start
        here = inside & (column >= 0) & (column < column_count)
        logit = tl.load(logits_ptr + rows.to(tl.int64) * logits_stride + column, mask=here)
        tl.store(target_ptr + rows, logit * inverse, mask=here)
        place = part * row_count + rows
        tl.store(sum_ptr + place, sums, mask=inside)
        tl.store(weighted_ptr + place, weighted, mask=inside)
        if MODE == "sums":
            tl.store(peak_ptr + place, peak, mask=inside)
