"""Row glue around the matrix products: targets, statistics, scaling. Tiles of rows."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

import triton
import triton.language as tl

from headrace.kernels.device.linear import EXPONENT_LIMIT, LOWEST
from headrace.kernels.device.row_math import expm1

BEHAVIOUR_LIMIT = tl.constexpr(20.0)
SHIFT_LIMIT = tl.constexpr(80.0)


@triton.jit
def offset_kernel(
    hidden_ptr,
    weight_ptr,
    targets_ptr,
    inverse_ptr,
    behaviour_ptr,
    offset_ptr,
    row_count,
    vocabulary,
    depth,
    hidden_stride,
    weight_stride,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The offset of each row's exponents: its target's logit.

    It is raised where the behaviour policy found the token improbable already, so that exponents
    stay in range. A target outside the vocabulary gives NaN.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < row_count
    target = tl.load(targets_ptr + rows, mask=inside, other=0)
    known = (target >= 0) & (target < vocabulary)
    left = rows.to(tl.int64)[:, None] * hidden_stride
    right = tl.where(known, target, 0).to(tl.int64)[:, None] * weight_stride
    dot = tl.zeros([ROWS], tl.float32)
    for start in range(0, depth, BLOCK):
        lanes = (start + tl.arange(0, BLOCK))[None, :]
        valid = inside[:, None] & (lanes < depth)
        x = tl.load(hidden_ptr + left + lanes, mask=valid, other=0.0).to(tl.float32)
        w = tl.load(weight_ptr + right + lanes, mask=valid, other=0.0).to(tl.float32)
        dot += tl.sum(x * w, 1)
    logit = dot * tl.load(inverse_ptr + rows, mask=inside, other=0.0)
    excess = -tl.load(behaviour_ptr + rows, mask=inside, other=0.0) - BEHAVIOUR_LIMIT
    shift = tl.where(excess > 0, tl.minimum(excess, SHIFT_LIMIT), 0.0)
    tl.store(offset_ptr + rows, tl.where(known, logit + shift, float("nan")), mask=inside)


@triton.jit
def combine_kernel(
    target_ptr,
    offset_ptr,
    peak_ptr,
    sum_ptr,
    weighted_ptr,
    index_ptr,
    logp_ptr,
    entropy_ptr,
    lse_ptr,
    total_ptr,
    row_count,
    parts,
    PEAK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Partial sums [parts, M] to log-probability and entropy at `index`, and lse and sum [M].

    Without peaks, all parts share the row's offset, and the sum is relative to it. A row whose
    exponents reached their limit gets the sum inf: dividing by it leaves the row no gradient.
    """
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < row_count
    sums = tl.zeros([BLOCK], tl.float32)
    weighted = tl.zeros([BLOCK], tl.float32)
    peak = tl.zeros([BLOCK], tl.float32) + LOWEST
    for part in range(0, parts):
        place = part * row_count + rows
        s = tl.load(sum_ptr + place, mask=inside, other=1.0)
        u = tl.load(weighted_ptr + place, mask=inside, other=0.0)
        if PEAK:
            m = tl.load(peak_ptr + place, mask=inside, other=0.0)
            higher = tl.maximum(peak, m)
            fall, other_fall = peak - higher, m - higher
            shrink, other_shrink = tl.exp(fall), tl.exp(other_fall)
            weighted = shrink * (weighted + tl.where(sums > 0, fall * sums, 0.0))
            weighted += other_shrink * (u + tl.where(s > 0, other_fall * s, 0.0))
            sums = shrink * sums + other_shrink * s
            peak = higher
        else:
            sums += s
            weighted += u
    target = tl.load(target_ptr + rows, mask=inside, other=0.0)
    log_sum = tl.log(sums)
    entropy = log_sum - weighted / sums
    offset = peak
    if not PEAK:
        offset = tl.load(offset_ptr + rows, mask=inside, other=0.0)
        reached = log_sum >= EXPONENT_LIMIT
        sums = tl.where(reached, float("inf"), sums)
        entropy = tl.where(reached, 0.0, entropy)
    logp = (target - offset) - log_sum
    lse = offset + log_sum
    # Rounding may leave a certain token a little above 0.
    logp = tl.where(logp > 0, 0.0, logp)
    entropy = tl.where(entropy < 0, 0.0, entropy)
    to = tl.load(index_ptr + rows, mask=inside, other=0)
    tl.store(logp_ptr + to, logp, mask=inside)
    tl.store(entropy_ptr + to, entropy, mask=inside)
    tl.store(lse_ptr + rows, lse, mask=inside)
    tl.store(total_ptr + rows, sums, mask=inside)


@triton.jit
def scale_kernel(
    slope_ptr,
    outer_ptr,
    total_ptr,
    hidden_ptr,
    scale_ptr,
    scaled_ptr,
    row_count,
    depth,
    ENTROPY: tl.constexpr,
    HIDDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """scale = -slope · outer / sum of each row, and scale · hidden.

    With an entropy bonus the slope is written into the exponents instead (`bonus_kernel`).
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < row_count
    scale = -tl.load(outer_ptr + rows, mask=inside, other=0.0)
    if not ENTROPY:
        scale *= tl.load(slope_ptr + rows, mask=inside, other=0.0)
    scale = scale / tl.load(total_ptr + rows, mask=inside, other=1.0)
    tl.store(scale_ptr + rows, scale, mask=inside)
    if HIDDEN:
        start = rows.to(tl.int64)[:, None] * depth
        for first in range(0, depth, BLOCK):
            lanes = (first + tl.arange(0, BLOCK))[None, :]
            valid = inside[:, None] & (lanes < depth)
            x = tl.load(hidden_ptr + start + lanes, mask=valid, other=0.0).to(tl.float32)
            x = x * scale[:, None]
            tl.store(scaled_ptr + start + lanes, x.to(scaled_ptr.dtype.element_ty), mask=valid)


@triton.jit
def fix_kernel(
    exponents_ptr,
    targets_ptr,
    index_ptr,
    logp_ptr,
    total_ptr,
    row_count,
    column_count,
    stride,
    BLOCK: tl.constexpr,
):
    """At each row's target, the exponent minus the sum: sum · (p - 1), from the log-probability."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < row_count
    column = tl.load(targets_ptr + rows, mask=inside, other=0)
    here = inside & (column >= 0) & (column < column_count)
    at = tl.load(index_ptr + rows, mask=inside, other=0)
    logp = tl.load(logp_ptr + at, mask=inside, other=0.0)
    total = tl.load(total_ptr + rows, mask=inside, other=1.0)
    value = tl.where(total < float("inf"), total * expm1(logp), 0.0)
    place = rows.to(tl.int64) * stride + column
    tl.store(exponents_ptr + place, value.to(exponents_ptr.dtype.element_ty), mask=here)


@triton.jit
def target_kernel(
    stored_ptr,
    targets_ptr,
    value_ptr,
    row_count,
    column_start,
    column_count,
    stride,
    BLOCK: tl.constexpr,
):
    """Puts each row's value at its target, where the strip of columns holds it."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < row_count
    column = tl.load(targets_ptr + rows, mask=inside, other=0) - column_start
    here = inside & (column >= 0) & (column < column_count)
    value = tl.load(value_ptr + rows, mask=here, other=0.0)
    place = rows.to(tl.int64) * stride + column
    tl.store(stored_ptr + place, value.to(stored_ptr.dtype.element_ty), mask=here)


@triton.jit
def bonus_kernel(
    exponents_ptr,
    targets_ptr,
    index_ptr,
    logp_ptr,
    entropy_ptr,
    total_ptr,
    slope_ptr,
    row_count,
    column_count,
    stride,
    coefficient,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Exponents to sum · (slope·(p - onehot) - c·p·(log p + H)): the entropy bonus's gradient."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < row_count
    column = tl.load(targets_ptr + rows, mask=inside, other=0)
    at = tl.load(index_ptr + rows, mask=inside, other=0)
    logp = tl.load(logp_ptr + at, mask=inside, other=0.0)
    entropy = tl.load(entropy_ptr + at, mask=inside, other=0.0)
    slope = tl.load(slope_ptr + rows, mask=inside, other=0.0)
    total = tl.load(total_ptr + rows, mask=inside, other=1.0)
    known = total < float("inf")
    log_total = tl.log(tl.where(known, total, 1.0))
    at_target = tl.where(known, total * slope * expm1(logp), 0.0)
    row = rows.to(tl.int64)[:, None] * stride
    for start in range(0, column_count, BLOCK):
        lanes = start + tl.arange(0, BLOCK)
        valid = inside[:, None] & (lanes < column_count)[None, :]
        place = exponents_ptr + row + lanes[None, :]
        exponent = tl.load(place, mask=valid, other=0.0).to(tl.float32)
        positive = exponent > 0
        log_p = tl.log(tl.where(positive, exponent, 1.0)) - log_total[:, None]
        bonus = coefficient * exponent * (log_p + entropy[:, None])
        plain = tl.where(
            column[:, None] == lanes[None, :], at_target[:, None], slope[:, None] * exponent
        )
        value = plain - tl.where(positive, bonus, 0.0)
        tl.store(place, value.to(exponents_ptr.dtype.element_ty), mask=valid)


@triton.jit
def scatter_kernel(
    values_ptr,
    scale_ptr,
    index_ptr,
    out_ptr,
    row_count,
    depth,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out[index] = scale · values, rows of [M, H] fp32 to rows of [N, H]."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < row_count
    scale = tl.load(scale_ptr + rows, mask=inside, other=0.0)
    to = tl.load(index_ptr + rows, mask=inside, other=0).to(tl.int64)[:, None] * depth
    start = rows.to(tl.int64)[:, None] * depth
    for first in range(0, depth, BLOCK):
        lanes = (first + tl.arange(0, BLOCK))[None, :]
        valid = inside[:, None] & (lanes < depth)
        value = tl.load(values_ptr + start + lanes, mask=valid, other=0.0) * scale[:, None]
        # A row without gradient may have overflowed.
        value = tl.where(scale[:, None] != 0, value, 0.0)
        tl.store(out_ptr + to + lanes, value.to(out_ptr.dtype.element_ty), mask=valid)
