"""Plain torch: row losses only need the row's log-probability, so each block of rows gives its
gradients at once (6·N·H·V operations, no second pass over the logits). A loss over sequences needs
the log-probabilities of all rows first, and pays one more forward pass."""

import torch
from torch import Tensor

from headrace.kernels.linear_loss.plan import Gradients, Plan
from headrace.kernels.linear_loss.selection import poison_if_cut, select_rows
from headrace.kernels.losses.config import LossConfig
from headrace.kernels.losses.inputs import RowInputs, compute_dtype
from headrace.kernels.losses.metrics import packed_metrics, row_sums
from headrace.kernels.losses.rows import row_terms
from headrace.kernels.losses.softmax import (
    VOCAB_BLOCK,
    logit_gradient,
    rows_per_chunk,
    softmax_block,
)


def gradients_torch(
    hidden: Tensor,
    weight: Tensor,
    rows: RowInputs,
    loss: LossConfig,
    plan: Plan,
    main_grad: Tensor | None,
) -> Gradients:
    """Loss, metrics and gradients after the checks of `linear_policy_loss`."""
    dtype = compute_dtype(hidden)
    step = rows_per_chunk(plan.chunk_rows, weight)
    logp = torch.zeros(hidden.shape[0], dtype=dtype, device=hidden.device)
    entropy = torch.zeros_like(logp)
    grad_hidden = torch.zeros_like(hidden, dtype=dtype) if plan.want_hidden else None
    grad_weight = None
    if plan.want_weight:
        grad_weight = torch.zeros_like(weight, dtype=dtype) if main_grad is None else main_grad

    chosen = select_rows(rows, loss, gradients=plan.any_gradient, active_rows=plan.active_rows)
    scored = torch.cat(chosen) if loss.needs_sequences else chosen.resting
    for index in torch.split(scored, step) if scored.shape[0] else ():
        block = softmax_block(
            hidden[index], weight, rows.targets[index], rows.inverse_temperature[index]
        )
        logp[index], entropy[index] = block.logp, block.entropy
    slopes = row_terms(logp, entropy, rows, loss).grad if loss.needs_sequences else None

    for start in range(0, chosen.learning.shape[0], step):
        index = chosen.learning[start : start + step]
        # Rows of no weight come along where the host does not count; they may hold NaN.
        part = torch.where(rows.active[index, None], hidden.index_select(0, index).to(dtype), 0.0)
        block = softmax_block(part, weight, rows.targets[index], rows.inverse_temperature[index])
        logp[index], entropy[index] = block.logp, block.entropy
        if slopes is None:
            slope = row_terms(block.logp, block.entropy, rows, loss, index).grad
        else:
            slope = slopes[index]
        outer = rows.token_weights[index] * rows.inverse_temperature[index]
        slope = torch.where(outer != 0, slope, 0.0)
        grad_logits = logit_gradient(block, rows.targets[index], outer, slope, loss.entropy_coef)
        _add_gradients(grad_logits, part, weight, index, grad_hidden, grad_weight)

    if plan.active_rows is not None:
        logp = torch.where(rows.active, logp, 0.0)
        entropy = torch.where(rows.active, entropy, 0.0)
    sums = row_sums(logp, entropy, rows, loss)
    return Gradients(
        loss=poison_if_cut(sums.loss, rows, plan.active_rows),
        logp=logp,
        entropy=entropy,
        metrics=packed_metrics(sums),
        grad_hidden=None if grad_hidden is None else grad_hidden.to(hidden.dtype),
        grad_weight=None
        if grad_weight is None or grad_weight is main_grad
        else grad_weight.to(weight.dtype),
    )


def _add_gradients(
    grad_logits: Tensor,
    hidden: Tensor,
    weight: Tensor,
    index: Tensor,
    grad_hidden: Tensor | None,
    grad_weight: Tensor | None,
) -> None:
    """Adds this block's share to both gradients, a block of the vocabulary at a time."""
    grad_rows = torch.zeros_like(hidden)
    for start in range(0, weight.shape[0], VOCAB_BLOCK):
        part = slice(start, start + VOCAB_BLOCK)
        if grad_hidden is not None:
            grad_rows.addmm_(grad_logits[:, part], weight[part].to(hidden.dtype))
        if grad_weight is not None:
            grad_weight[part].addmm_(grad_logits[:, part].t(), hidden)
    if grad_hidden is not None:
        grad_hidden.index_copy_(0, index, grad_rows)
