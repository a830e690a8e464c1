"""Triton: one program a row, which forms its statistics, its slope and its gradient. A loss
over sequences takes one kernel before and one after the sequences' means."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

import torch
import triton
import triton.language as tl
from torch import Tensor

from headrace.kernels.device.linear import LOG2_E, LOWEST
from headrace.kernels.device.row_math import Row, expm1, row_terms
from headrace.kernels.device.rows import choices_of, row_slopes, row_sums
from headrace.kernels.device.segments import sequence_means
from headrace.kernels.implementation import interpreted
from headrace.kernels.losses.config import LossConfig
from headrace.kernels.losses.inputs import RowInputs
from headrace.kernels.losses.metrics import packed_metrics

BLOCK = 128 if interpreted() else 4096
WARPS = 8


@triton.jit
def _statistics(row_ptr, inverse, target, vocabulary, BLOCK: tl.constexpr):
    """Log-probability of the target, entropy and log-sum-exp of one row."""
    peak = inverse * 0.0 + LOWEST
    total = inverse * 0.0
    weighted = inverse * 0.0
    for first in range(0, vocabulary, BLOCK):
        lanes = first + tl.arange(0, BLOCK)
        valid = lanes < vocabulary
        scaled = tl.load(row_ptr + lanes, mask=valid, other=0.0).to(tl.float32) * inverse
        higher = tl.maximum(peak, tl.max(tl.where(valid, scaled, LOWEST), 0))
        fall = peak - higher
        shrink = tl.exp2(fall * LOG2_E)
        weighted = shrink * (weighted + tl.where(total > 0, fall * total, 0.0))
        total = shrink * total
        peak = higher
        difference = tl.where(valid, scaled - peak, 0.0)
        exponent = tl.where(valid, tl.exp2(difference * LOG2_E), 0.0)
        total += tl.sum(exponent, 0)
        weighted += tl.sum(exponent * difference, 0)
    known = (target >= 0) & (target < vocabulary)
    logit = tl.load(row_ptr + target, mask=known, other=float("nan")).to(tl.float32) * inverse
    log_total = tl.log(total)
    logp = (logit - peak) - log_total
    logp = tl.where(logp > 0, 0.0, logp)
    entropy = log_total - weighted / total
    return logp, tl.where(entropy < 0, 0.0, entropy), peak + log_total


@triton.jit
def _gradient(
    row_ptr,
    grad_ptr,
    inverse,
    target,
    logp,
    entropy,
    lse,
    slope,
    outer,
    vocabulary,
    coefficient,
    ENTROPY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """outer · (slope·(onehot - p) + c·p·(log p + H)) of one row."""
    at_target = -slope * expm1(logp)
    for first in range(0, vocabulary, BLOCK):
        lanes = first + tl.arange(0, BLOCK)
        valid = lanes < vocabulary
        scaled = tl.load(row_ptr + lanes, mask=valid, other=0.0).to(tl.float32) * inverse
        log_p = scaled - lse
        p = tl.exp2(log_p * LOG2_E)
        value = tl.where(lanes == target, at_target, -slope * p)
        if ENTROPY:
            value += coefficient * p * (log_p + entropy)
        value = (outer * value).to(grad_ptr.dtype.element_ty)
        tl.store(grad_ptr + lanes, value, mask=valid)


@triton.jit
def _zeros(grad_ptr, vocabulary, BLOCK: tl.constexpr):
    for first in range(0, vocabulary, BLOCK):
        lanes = first + tl.arange(0, BLOCK)
        nothing = tl.zeros([BLOCK], tl.float32).to(grad_ptr.dtype.element_ty)
        tl.store(grad_ptr + lanes, nothing, mask=lanes < vocabulary)


@triton.jit
def stats_kernel(
    logits_ptr,
    targets_ptr,
    columns_ptr,
    logp_ptr,
    entropy_ptr,
    lse_ptr,
    row_count,
    vocabulary,
    BLOCK: tl.constexpr,
):
    """Statistics of the rows of non-zero weight; the others stay as they are."""
    row = tl.program_id(0)
    if tl.load(columns_ptr + 2 * row_count + row) != 0:
        logp, entropy, lse = _statistics(
            logits_ptr + row.to(tl.int64) * vocabulary,
            tl.load(columns_ptr + 3 * row_count + row),
            tl.load(targets_ptr + row),
            vocabulary,
            BLOCK,
        )
        tl.store(logp_ptr + row, logp)
        tl.store(entropy_ptr + row, entropy)
        tl.store(lse_ptr + row, lse)


@triton.jit
def gradient_kernel(
    logits_ptr,
    grad_ptr,
    targets_ptr,
    columns_ptr,
    logp_ptr,
    entropy_ptr,
    lse_ptr,
    slope_ptr,
    outer_ptr,
    row_count,
    vocabulary,
    entropy_coef,
    ENTROPY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradients from statistics and slopes; zeros for rows without weight."""
    row = tl.program_id(0)
    outer = tl.load(outer_ptr + row)
    start = row.to(tl.int64) * vocabulary
    if outer != 0:
        _gradient(
            logits_ptr + start,
            grad_ptr + start,
            tl.load(columns_ptr + 3 * row_count + row),
            tl.load(targets_ptr + row),
            tl.load(logp_ptr + row),
            tl.load(entropy_ptr + row),
            tl.load(lse_ptr + row),
            tl.load(slope_ptr + row),
            outer,
            vocabulary,
            entropy_coef,
            ENTROPY,
            BLOCK,
        )
    else:
        _zeros(grad_ptr + start, vocabulary, BLOCK)


@triton.jit
def row_kernel(
    logits_ptr,
    grad_ptr,
    targets_ptr,
    columns_ptr,
    reference_ptr,
    old_ptr,
    logp_ptr,
    entropy_ptr,
    row_count,
    vocabulary,
    constants,
    choices,
    ENTROPY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Statistics, slope and gradient of one row, whose second read finds it in the cache."""
    row = tl.program_id(0)
    start = row.to(tl.int64) * vocabulary
    weight = tl.load(columns_ptr + 2 * row_count + row)
    if weight != 0:
        inverse = tl.load(columns_ptr + 3 * row_count + row)
        target = tl.load(targets_ptr + row)
        logp, entropy, lse = _statistics(logits_ptr + start, inverse, target, vocabulary, BLOCK)
        tl.store(logp_ptr + row, logp)
        tl.store(entropy_ptr + row, entropy)
        behaviour = tl.load(columns_ptr + row_count + row)
        old = behaviour
        if choices.proximal:
            old = tl.load(old_ptr + row)
        reference = logp
        if choices.kl != "none":
            reference = tl.load(reference_ptr + row)
        row_inputs = Row(
            logp=logp,
            entropy=entropy,
            advantage=tl.load(columns_ptr + row),
            behaviour=behaviour,
            old=old,
            reference=reference,
            sequence=logp,
        )
        _gradient(
            logits_ptr + start,
            grad_ptr + start,
            inverse,
            target,
            logp,
            entropy,
            lse,
            row_terms(row_inputs, constants, choices).grad,
            weight * inverse,
            vocabulary,
            constants.entropy_coef,
            ENTROPY,
            BLOCK,
        )
    else:
        _zeros(grad_ptr + start, vocabulary, BLOCK)


def policy_gradients_triton(
    logits: Tensor, rows: RowInputs, loss: LossConfig, grad: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, logp, entropy, metrics after the checks of `policy_loss`."""
    count, vocabulary = logits.shape
    logp = torch.zeros(count, dtype=torch.float32, device=logits.device)
    entropy = torch.zeros_like(logp)
    sequence = None
    if grad is not None and count and not loss.needs_sequences:
        row_kernel[(count,)](
            logits,
            grad,
            rows.targets,
            rows.columns,
            rows.reference_logp,
            rows.proximal_logp,
            logp,
            entropy,
            count,
            vocabulary,
            loss.constants,
            choices_of(loss, rows),
            ENTROPY=loss.entropy_coef > 0.0,
            BLOCK=BLOCK,
            num_warps=WARPS,
        )
    elif count:
        sequence = _two_kernels(logits, rows, loss, grad, logp, entropy)
    sums = row_sums(logp, entropy, rows, sequence, loss)
    return sums.loss, logp, entropy, packed_metrics(sums)


def _two_kernels(
    logits: Tensor,
    rows: RowInputs,
    loss: LossConfig,
    grad: Tensor | None,
    logp: Tensor,
    entropy: Tensor,
) -> Tensor | None:
    """Statistics first, then gradients; gives the sequences' mean log-ratios, if needed."""
    count, vocabulary = logits.shape
    lse = torch.empty_like(logp)
    stats_kernel[(count,)](
        logits,
        rows.targets,
        rows.columns,
        logp,
        entropy,
        lse,
        count,
        vocabulary,
        BLOCK=BLOCK,
        num_warps=WARPS,
    )
    sequence = sequence_means(logp, rows) if loss.needs_sequences else None
    if grad is None:
        return sequence
    index = torch.arange(count, device=logits.device)
    slope, outer = row_slopes(index, logp, entropy, rows, sequence, loss)
    gradient_kernel[(count,)](
        logits,
        grad,
        rows.targets,
        rows.columns,
        logp,
        entropy,
        lse,
        slope,
        outer,
        count,
        vocabulary,
        loss.entropy_coef,
        ENTROPY=loss.entropy_coef > 0.0,
        BLOCK=BLOCK,
        num_warps=WARPS,
    )
    return sequence
