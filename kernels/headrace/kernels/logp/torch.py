"""Plain torch: a block of rows at a time."""

import torch
from torch import Tensor

from headrace.kernels.losses.inputs import compute_dtype
from headrace.kernels.losses.result import LogProbs
from headrace.kernels.losses.softmax import rows_per_chunk, softmax_block


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
