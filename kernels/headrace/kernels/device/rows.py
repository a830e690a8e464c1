"""Row losses of many rows: slopes for the gradient, and sums for loss and metrics."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from headrace.kernels.device.row_math import LIMIT, bounded_exp, clamp, exp_tail, row_terms
from headrace.kernels.linear_loss.rows import RowInputs
from headrace.kernels.losses import LossConfig

BLOCK = 256
SUMS = 12
WIDTH = tl.constexpr(16)


@triton.jit
def _load_row(ptr, rows, inside, columns, which: tl.constexpr):
    return tl.load(ptr + which * columns + rows, mask=inside, other=0.0)


@triton.jit
def _row_inputs(
    logp_ptr,
    entropy_ptr,
    columns_ptr,
    reference_ptr,
    old_ptr,
    sequence_ptr,
    rows,
    inside,
    total,
    KIND: tl.constexpr,
    KL: tl.constexpr,
    PROXIMAL: tl.constexpr,
):
    logp = tl.load(logp_ptr + rows, mask=inside, other=0.0)
    entropy = tl.load(entropy_ptr + rows, mask=inside, other=0.0)
    advantage = _load_row(columns_ptr, rows, inside, total, 0)
    behaviour = _load_row(columns_ptr, rows, inside, total, 1)
    old = behaviour
    if PROXIMAL:
        old = tl.load(old_ptr + rows, mask=inside, other=0.0)
    reference = logp
    if KL != "none":
        reference = tl.load(reference_ptr + rows, mask=inside, other=0.0)
    sequence = logp
    if KIND == "gspo":
        sequence = tl.load(sequence_ptr + rows, mask=inside, other=0.0)
    return logp, entropy, advantage, behaviour, old, reference, sequence


@triton.jit
def _slopes_kernel(
    index_ptr,
    logp_ptr,
    entropy_ptr,
    columns_ptr,
    reference_ptr,
    old_ptr,
    sequence_ptr,
    slope_ptr,
    outer_ptr,
    count,
    total,
    clip_low,
    clip_high,
    dual_clip,
    tau_positive,
    tau_negative,
    weight_low,
    weight_high,
    kl_coef,
    entropy_coef,
    KIND: tl.constexpr,
    CORRECTION: tl.constexpr,
    KL: tl.constexpr,
    PROXIMAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    present = places < count
    rows = tl.load(index_ptr + places, mask=present, other=0)
    weight = _load_row(columns_ptr, rows, present, total, 2)
    inside = present & (weight != 0)
    logp, entropy, advantage, behaviour, old, reference, sequence = _row_inputs(
        logp_ptr,
        entropy_ptr,
        columns_ptr,
        reference_ptr,
        old_ptr,
        sequence_ptr,
        rows,
        inside,
        total,
        KIND,
        KL,
        PROXIMAL,
    )
    _, grad, _, _, _, _ = row_terms(
        logp,
        entropy,
        advantage,
        behaviour,
        old,
        reference,
        sequence,
        clip_low,
        clip_high,
        dual_clip,
        tau_positive,
        tau_negative,
        weight_low,
        weight_high,
        kl_coef,
        entropy_coef,
        KIND,
        CORRECTION,
        KL,
        PROXIMAL,
    )
    inverse = _load_row(columns_ptr, rows, present, total, 3)
    tl.store(slope_ptr + places, tl.where(inside, grad, 0.0), mask=present)
    tl.store(outer_ptr + places, tl.where(inside, weight * inverse, 0.0), mask=present)


@triton.jit
def _put(sums, which: tl.constexpr, value):
    return tl.where(tl.arange(0, WIDTH) == which, value, sums)


@triton.jit
def _masked_sum(values, inside):
    return tl.sum(tl.where(inside, values, 0.0), 0)


@triton.jit
def _sums_kernel(
    logp_ptr,
    entropy_ptr,
    columns_ptr,
    reference_ptr,
    old_ptr,
    sequence_ptr,
    sums_ptr,
    total,
    clip_low,
    clip_high,
    dual_clip,
    tau_positive,
    tau_negative,
    weight_low,
    weight_high,
    kl_coef,
    entropy_coef,
    KIND: tl.constexpr,
    CORRECTION: tl.constexpr,
    KL: tl.constexpr,
    PROXIMAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    weight = _load_row(columns_ptr, rows, rows < total, total, 2)
    inside = (rows < total) & (weight != 0)
    logp, entropy, advantage, behaviour, old, reference, sequence = _row_inputs(
        logp_ptr,
        entropy_ptr,
        columns_ptr,
        reference_ptr,
        old_ptr,
        sequence_ptr,
        rows,
        inside,
        total,
        KIND,
        KL,
        PROXIMAL,
    )
    loss, _, clipped, dual_clipped, importance, estimate = row_terms(
        logp,
        entropy,
        advantage,
        behaviour,
        old,
        reference,
        sequence,
        clip_low,
        clip_high,
        dual_clip,
        tau_positive,
        tau_negative,
        weight_low,
        weight_high,
        kl_coef,
        entropy_coef,
        KIND,
        CORRECTION,
        KL,
        PROXIMAL,
    )
    gap = clamp(logp - behaviour, -LIMIT, LIMIT)
    ratio = tl.where(inside, bounded_exp(gap), 0.0)
    sums = tl.zeros([WIDTH], tl.float32)
    sums = _put(sums, 0, _masked_sum(weight * loss, inside))
    sums = _put(sums, 1, _masked_sum(tl.where(inside, 1.0, 0.0), inside))
    sums = _put(sums, 2, _masked_sum(tl.where(clipped, 1.0, 0.0), inside))
    sums = _put(sums, 3, _masked_sum(tl.where(dual_clipped, 1.0, 0.0), inside))
    sums = _put(sums, 4, _masked_sum(-gap, inside))
    sums = _put(sums, 5, _masked_sum(exp_tail(gap), inside))
    sums = _put(sums, 6, tl.sum(ratio, 0))
    sums = _put(sums, 7, tl.sum(ratio * ratio, 0))
    sums = _put(sums, 8, _masked_sum(entropy, inside))
    sums = _put(sums, 9, _masked_sum(estimate, inside))
    sums = _put(sums, 10, _masked_sum(importance, inside))
    sums = _put(sums, 11, _masked_sum(tl.where(importance == 0, 1.0, 0.0), inside))
    sums = _put(sums, 12, tl.max(ratio, 0))
    tl.store(sums_ptr + tl.program_id(0) * WIDTH + tl.arange(0, WIDTH), sums)


def row_slopes(
    index: Tensor,
    logp: Tensor,
    entropy: Tensor,
    columns: Tensor,
    rows: RowInputs,
    sequence: Tensor | None,
    loss: LossConfig,
) -> tuple[Tensor, Tensor]:
    """dl/dlogp and token weight / temperature of the rows at `index`, [M] each.

    `logp`, `entropy` and `sequence` are [N], `columns` [4, N] as the operator takes them.
    """
    count = index.shape[0]
    slope = torch.empty(count, dtype=torch.float32, device=index.device)
    outer = torch.empty_like(slope)
    if count:
        _slopes_kernel[(triton.cdiv(count, BLOCK),)](
            index,
            logp,
            entropy,
            columns,
            rows.reference_logp,
            rows.proximal_logp,
            sequence,
            slope,
            outer,
            count,
            logp.shape[0],
            *_numbers(loss),
            **kernel_names(loss, rows),
            BLOCK=BLOCK,
        )
    return slope, outer


def row_sums(
    logp: Tensor,
    entropy: Tensor,
    columns: Tensor,
    rows: RowInputs,
    sequence: Tensor | None,
    loss: LossConfig,
) -> tuple[Tensor, Tensor]:
    """Loss (0-d) and the metrics in the order of `METRICS`, over rows of non-zero weight."""
    total = logp.shape[0]
    programs = triton.cdiv(total, BLOCK)
    sums = torch.zeros((max(programs, 1), WIDTH.value), dtype=torch.float32, device=logp.device)
    if programs:
        _sums_kernel[(programs,)](
            logp,
            entropy,
            columns,
            rows.reference_logp,
            rows.proximal_logp,
            sequence,
            sums,
            total,
            *_numbers(loss),
            **kernel_names(loss, rows),
            BLOCK=BLOCK,
        )
    whole = sums[:, :SUMS].sum(0)
    count = whole[1].clamp(min=1.0)
    mean = whole / count
    tiny = torch.finfo(torch.float32).tiny
    ess = whole[6].square() / (count * whole[7]).clamp(min=tiny)
    largest = sums[:, 12].max()
    metrics = (
        mean[2],
        mean[3],
        mean[4],
        mean[5],
        ess,
        largest,
        mean[8],
        mean[9],
        mean[10],
        mean[11],
    )
    return whole[0].clone(), torch.stack(metrics)


def _numbers(loss: LossConfig) -> list[float]:
    return loss.encode()[1]


def kernel_names(loss: LossConfig, rows: RowInputs) -> dict[str, Any]:
    """The choices that are compiled into a kernel with row mathematics."""
    return {
        "KIND": loss.kind,
        "CORRECTION": loss.correction,
        "KL": loss.kl_kind if loss.kl_coef > 0.0 else "none",
        "PROXIMAL": rows.proximal_logp is not None,
    }
