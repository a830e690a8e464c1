"""Mean log-ratio of each row's sequence, as the losses over sequences need it."""

import torch
from torch import Tensor

from headrace.kernels.linear_loss.rows import RowInputs
from headrace.kernels.scan.triton import sums_triton


def sequence_means(logp: Tensor, rows: RowInputs) -> Tensor:
    """Mean of logp - old over each row's sequence, rows of non-zero weight only: [N]."""
    assert rows.cu_seqlens is not None
    old = rows.behaviour_logp if rows.proximal_logp is None else rows.proximal_logp
    count = logp.shape[0]
    # A last segment, to the end, so that every row has one.
    end = torch.full_like(rows.cu_seqlens[:1], count)
    bounds = torch.cat((rows.cu_seqlens, end))
    sums, counts = sums_triton(logp - old, rows.active, bounds)
    places = torch.arange(count, device=logp.device, dtype=bounds.dtype)
    segment = torch.bucketize(places, bounds[1:-1], right=True)
    return (sums / counts.clamp(min=1))[segment]
