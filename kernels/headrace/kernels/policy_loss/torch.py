"""Plain torch: row losses only need the row's log-probability, so each block of rows gives loss
and gradients at once (6·N·H·V operations, no second pass over the logits)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from headrace.kernels.logp.interface import compute_dtype
from headrace.kernels.logp.torch import (
    VOCAB_BLOCK,
    Softmax,
    linear_logp_torch,
    rows_per_chunk,
    softmax_block,
)
from headrace.kernels.losses import LossConfig, RowLoss, row_loss
from headrace.kernels.policy_loss.interface import RowInputs


def linear_policy_loss_torch(
    hidden: Tensor, weight: Tensor, rows: RowInputs, loss: LossConfig, chunk_rows: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, logp, entropy) after the checks of `linear_policy_loss`."""
    want_hidden = torch.is_grad_enabled() and hidden.requires_grad
    want_weight = torch.is_grad_enabled() and weight.requires_grad
    step = rows_per_chunk(chunk_rows, weight)
    value, logp, entropy = _LinearPolicyLoss.apply(  # type: ignore[no-untyped-call]  # torch's own
        hidden, weight, rows, loss, step, want_hidden, want_weight
    )
    return value, logp, entropy


class _LinearPolicyLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # torch types the context as Any
        hidden: Tensor,
        weight: Tensor,
        rows: RowInputs,
        loss: LossConfig,
        step: int,
        want_hidden: bool,
        want_weight: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = compute_dtype(hidden)
        count = hidden.shape[0]
        total = torch.zeros((), dtype=dtype, device=hidden.device)
        logp = torch.zeros(count, dtype=dtype, device=hidden.device)
        entropy = torch.zeros_like(logp)
        grad_hidden = torch.zeros_like(hidden, dtype=dtype) if want_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=dtype) if want_weight else None

        active = rows.token_weights != 0
        # Zero advantage has no gradient without KL; its loss is zero too, in every kind of row.
        learning = active & (rows.advantages != 0) if loss.kl_coef == 0.0 else active
        if not (want_hidden or want_weight):
            learning = torch.zeros_like(learning)

        kept = torch.nonzero(learning)[:, 0]
        for start in range(0, kept.shape[0], step):
            index = kept[start : start + step]
            part = hidden.index_select(0, index).to(dtype)
            inverse = rows.inverse_temperature[index]
            block = softmax_block(part, weight, rows.targets[index], inverse)
            logp[index], entropy[index] = block.logp, block.entropy
            terms = _row_terms(block.logp, rows, loss, index)
            token_weights = rows.token_weights[index]
            total += (token_weights * terms.loss).sum()
            scale = token_weights * terms.grad * inverse
            grad_logits = _logit_gradient(block, rows.targets[index], scale)
            _add_gradients(grad_logits, part, weight, index, grad_hidden, grad_weight)

        resting = torch.nonzero(~learning)[:, 0]
        stats = linear_logp_torch(
            hidden.index_select(0, resting),
            weight,
            rows.targets[resting],
            rows.inverse_temperature[resting],
            step,
        )
        logp[resting], entropy[resting] = stats.logp, stats.entropy
        still = resting[active[resting]]
        if still.numel():
            terms = _row_terms(logp[still], rows, loss, still)
            total += (rows.token_weights[still] * terms.loss).sum()

        ctx.save_for_backward(
            None if grad_hidden is None else grad_hidden.to(hidden.dtype),
            None if grad_weight is None else grad_weight.to(weight.dtype),
        )
        ctx.mark_non_differentiable(logp, entropy)
        return total, logp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        grads = (None if saved is None else saved * upstream for saved in ctx.saved_tensors)
        return (*grads, None, None, None, None, None)


def _row_terms(logp: Tensor, rows: RowInputs, loss: LossConfig, index: Tensor) -> RowLoss:
    def pick(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[index]

    return row_loss(
        logp,
        advantages=rows.advantages[index],
        behaviour_logp=rows.behaviour_logp[index],
        loss=loss,
        reference_logp=pick(rows.reference_logp),
        proximal_logp=pick(rows.proximal_logp),
    )


def _logit_gradient(block: Softmax, targets: Tensor, scale: Tensor) -> Tensor:
    """scale · (onehot - softmax), written over the exponents."""
    grad = block.exponents.mul_((-scale / block.total)[:, None])
    # 1 - p of the target from its log-probability: no cancellation where p is close to 1.
    at_target = scale * -torch.expm1(block.logp)
    return grad.scatter_(1, targets[:, None], at_target[:, None])


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
