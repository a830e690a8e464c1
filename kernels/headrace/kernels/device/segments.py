"""Sums over packed sequences, and the mean log-ratio that losses over sequences need."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

import torch
import triton
import triton.language as tl
from torch import Tensor

from headrace.kernels.implementation import interpreted
from headrace.kernels.losses.inputs import RowInputs

BLOCK = 16 if interpreted() else 1024
SPLITS = 3 if interpreted() else 64
"""Programs for one sequence's sum, at most."""


@triton.jit
def segments_kernel(
    values_ptr, mask_ptr, bounds_ptr, sums_ptr, counts_ptr, splits, BLOCK: tl.constexpr
):
    """A share of one sequence's blocks, [S, splits]."""
    sequence, split = tl.program_id(0), tl.program_id(1)
    start = tl.load(bounds_ptr + sequence).to(tl.int64)
    stop = tl.load(bounds_ptr + sequence + 1).to(tl.int64)
    lanes = tl.arange(0, BLOCK)
    sums = tl.zeros([BLOCK], tl.float32)
    counts = tl.zeros([BLOCK], tl.float32)
    for block in range(split, tl.cdiv(stop - start, BLOCK), splits):
        rows = start + block * BLOCK + lanes
        inside = rows < stop
        mask = (tl.load(mask_ptr + rows, mask=inside, other=0) != 0) & inside
        sums += tl.load(values_ptr + rows, mask=mask, other=0.0)
        counts += tl.where(mask, 1.0, 0.0)
    tl.store(sums_ptr + sequence * splits + split, tl.sum(sums, 0))
    tl.store(counts_ptr + sequence * splits + split, tl.sum(counts, 0))


def sums_triton(values: Tensor, mask: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and number of rows of each sequence."""
    sequences = cu_seqlens.shape[0] - 1
    if not sequences:
        nothing = torch.empty(0, dtype=values.dtype, device=values.device)
        return nothing, nothing.clone()
    # Few sequences are spread over many programs, many need no spreading.
    blocks = triton.cdiv(values.shape[0], BLOCK)
    splits = max(1, min(SPLITS, blocks // sequences))
    sums = torch.empty((sequences, splits), dtype=values.dtype, device=values.device)
    counts = torch.empty_like(sums)
    segments_kernel[(sequences, splits)](
        values.contiguous(), as_bytes(mask), cu_seqlens, sums, counts, splits, BLOCK=BLOCK
    )
    return sums.sum(1), counts.sum(1)


def sequence_means(logp: Tensor, rows: RowInputs) -> Tensor:
    """Mean of logp - old over each row's sequence, rows of non-zero weight only: [N]."""
    assert rows.cu_seqlens is not None
    count = logp.shape[0]
    # A last segment, to the end, so that every row has one.
    end = torch.full_like(rows.cu_seqlens[:1], count)
    bounds = torch.cat((rows.cu_seqlens, end))
    sums, counts = sums_triton(logp - rows.old_logp, rows.active, bounds)
    places = torch.arange(count, device=logp.device, dtype=bounds.dtype)
    segment = torch.bucketize(places, bounds[1:-1], right=True)
    return (sums / counts.clamp(min=1))[segment]


def as_bytes(mask: Tensor) -> Tensor:
    """A mask as kernels read it."""
    return mask.contiguous().view(torch.uint8)
