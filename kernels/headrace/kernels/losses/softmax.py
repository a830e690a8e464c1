"""Softmax of a block of rows in plain torch, and the gradient of its logits.

The head is cast a block of its vocabulary at a time.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from headrace.kernels.losses.inputs import compute_dtype

VOCAB_BLOCK = 8192
CHUNK_ELEMENTS = 1 << 25
"""Default bound on logits held at once: 128 MiB in fp32, held twice."""


class Softmax(NamedTuple):
    """Softmax of a block of rows: `exponents` / `total` is the distribution."""

    exponents: Tensor
    total: Tensor
    logp: Tensor
    lse: Tensor
    entropy: Tensor


def rows_per_chunk(chunk_rows: int | None, weight: Tensor) -> int:
    """Rows whose logits are held at once."""
    if chunk_rows is None:
        return max(1, CHUNK_ELEMENTS // max(1, weight.shape[0]))
    return chunk_rows


def softmax_block(
    hidden: Tensor, weight: Tensor, targets: Tensor, inverse_temperature: Tensor
) -> Softmax:
    """Softmax statistics of a few rows [C, H]; holds two buffers of C · V."""
    return softmax_of(_logits(hidden, weight).mul_(inverse_temperature[:, None]), targets)


def softmax_of(logits: Tensor, targets: Tensor) -> Softmax:
    """Softmax statistics of logits [C, V], which are overwritten."""
    # Shifted by the row's maximum, so that log-probabilities near 0 keep their precision.
    peak = logits.amax(dim=-1, keepdim=True)
    logits.sub_(peak)
    exponents = logits.exp()
    total = exponents.sum(dim=-1)
    log_total = total.log()
    mean_logit = torch.linalg.vecdot(exponents, logits) / total
    return Softmax(
        exponents=exponents,
        total=total,
        logp=logits.gather(1, targets[:, None])[:, 0] - log_total,
        lse=peak[:, 0] + log_total,
        entropy=log_total - mean_logit,
    )


def logit_gradient(
    block: Softmax, targets: Tensor, outer: Tensor, slope: Tensor, entropy_coef: float
) -> Tensor:
    """outer · (slope·(onehot - p) + entropy_coef·p·(log p + H)), written over the exponents."""
    probability = block.exponents.mul_((1.0 / block.total)[:, None])
    # 1 - p of the target from its log-probability: no cancellation where p is close to 1.
    at_target = slope * -torch.expm1(block.logp)
    if entropy_coef == 0.0:
        grad = probability.mul_((-slope * outer)[:, None])
        return grad.scatter_(1, targets[:, None], (outer * at_target)[:, None])
    bonus = torch.xlogy(probability, probability)
    bonus.addcmul_(probability, block.entropy[:, None]).mul_(entropy_coef)
    at_target = at_target + bonus.gather(1, targets[:, None])[:, 0]
    grad = bonus.addcmul_(probability, -slope[:, None])
    return grad.scatter_(1, targets[:, None], at_target[:, None]).mul_(outer[:, None])


def _logits(hidden: Tensor, weight: Tensor) -> Tensor:
    dtype = compute_dtype(hidden)
    hidden = hidden.to(dtype)
    if weight.dtype == dtype:
        return hidden @ weight.t()
    vocabulary = weight.shape[0]
    out = torch.empty((hidden.shape[0], vocabulary), dtype=dtype, device=hidden.device)
    for start in range(0, vocabulary, VOCAB_BLOCK):
        block = weight[start : start + VOCAB_BLOCK].to(dtype)
        out[:, start : start + VOCAB_BLOCK] = hidden @ block.t()
    return out
