"""Plain torch: a block of rows at a time, in fp32."""

import torch
from torch import Tensor

from headrace.kernels.losses.config import LossConfig
from headrace.kernels.losses.inputs import RowInputs, compute_dtype
from headrace.kernels.losses.metrics import packed_metrics, row_sums
from headrace.kernels.losses.rows import row_terms
from headrace.kernels.losses.softmax import Softmax, logit_gradient, rows_per_chunk, softmax_of


def policy_gradients_torch(
    logits: Tensor, rows: RowInputs, loss: LossConfig, grad: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, logp, entropy, metrics after the checks of `policy_loss`."""
    logp = torch.zeros(logits.shape[0], dtype=compute_dtype(logits), device=logits.device)
    entropy = torch.zeros_like(logp)
    active = torch.nonzero(rows.active)[:, 0]
    parts = torch.split(active, rows_per_chunk(None, logits.t()))

    def softmax(index: Tensor) -> Softmax:
        inverse = rows.inverse_temperature[index, None]
        scaled = logits.index_select(0, index).to(logp.dtype).mul_(inverse)
        block = softmax_of(scaled, rows.targets[index])
        logp[index], entropy[index] = block.logp, block.entropy
        return block

    slopes = None
    if loss.needs_sequences:
        for index in parts:
            softmax(index)
        slopes = row_terms(logp, entropy, rows, loss).grad
    if grad is not None:
        grad.masked_fill_(~rows.active[:, None], 0.0)
    for index in parts:
        block = softmax(index)
        if grad is None:
            continue
        if slopes is None:
            slope = row_terms(block.logp, block.entropy, rows, loss, index).grad
        else:
            slope = slopes[index]
        outer = rows.token_weights[index] * rows.inverse_temperature[index]
        values = logit_gradient(block, rows.targets[index], outer, slope, loss.entropy_coef)
        grad.index_copy_(0, index, values.to(grad.dtype))
    sums = row_sums(logp, entropy, rows, loss)
    return sums.loss, logp, entropy, packed_metrics(sums)
