"""Plain torch: a block of rows at a time, the head cast a block of its vocabulary at a time."""

from typing import NamedTuple

import torch
from torch import Tensor

from headrace.kernels.logp.inputs import LogProbs, compute_dtype

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


def linear_logp_torch(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    inverse_temperature: Tensor,
    chunk_rows: int | None,
) -> LogProbs:
    """`linear_logp` after its checks."""
    rows = hidden.shape[0]
    out = torch.zeros((3, rows), dtype=compute_dtype(hidden), device=hidden.device)
    for start in range(0, rows, step := rows_per_chunk(chunk_rows, weight)):
        part = slice(start, start + step)
        block = softmax_block(hidden[part], weight, targets[part], inverse_temperature[part])
        out[0, part], out[1, part], out[2, part] = block.logp, block.lse, block.entropy
    return LogProbs(logp=out[0], lse=out[1], entropy=out[2])


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
