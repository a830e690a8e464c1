"""Means over packed sequences, given back to each row."""

import torch
from torch import Tensor


def segment_of_rows(cu_seqlens: Tensor, rows: int) -> Tensor:
    """Sequence of every row [N]; rows after the last bound get the number of sequences."""
    places = torch.arange(rows, device=cu_seqlens.device)
    return torch.bucketize(places, cu_seqlens[1:].long(), right=True)


def segment_means_of_rows(values: Tensor, cu_seqlens: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of each row's sequence over the rows of `mask`, [N]; 0 where there is none."""
    kept = torch.ones_like(values) if mask is None else mask.to(values.dtype)
    # A masked row may hold anything, NaN included.
    held = values if mask is None else torch.where(mask, values, 0.0)
    rows = values.shape[0]
    if rows == 0:
        return held
    # A last segment, to the end, so that every row has one.
    end = torch.full_like(cu_seqlens[:1], rows)
    bounds = torch.cat((cu_seqlens, end)).long()
    sums, counts = (
        torch.segment_reduce(part, "sum", offsets=bounds, axis=0, unsafe=True)
        for part in (held, kept)
    )
    return (sums / counts.clamp(min=1))[segment_of_rows(cu_seqlens, rows)]
