"""Triton: one program a sequence, from its end, a block at a time; a block is an associative scan.

A recurrence x_t = a_t·x_{t+1} + b_t composes as (a, b)∘(a', b') = (a·a', a·b' + b), which is
associative; the carry is the recurrence at the block's first row.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

import torch
import triton
import triton.language as tl
from torch import Tensor

from headrace.kernels.implementation import interpreted

BLOCK = 16 if interpreted() else 1024


@triton.jit
def _compose(later_a, later_b, earlier_a, earlier_b):
    return later_a * earlier_a, earlier_a * later_b + earlier_b


@triton.jit
def _gae_kernel(
    rewards_ptr,
    values_ptr,
    mask_ptr,
    bootstrap_ptr,
    bounds_ptr,
    out_ptr,
    gamma,
    lam,
    BLOCK: tl.constexpr,
):
    sequence = tl.program_id(0)
    start = tl.load(bounds_ptr + sequence).to(tl.int64)
    stop = tl.load(bounds_ptr + sequence + 1).to(tl.int64)
    value_carry = tl.load(bootstrap_ptr + sequence).to(tl.float32)
    carry = value_carry * 0.0
    lanes = tl.arange(0, BLOCK)
    for block in range(0, tl.cdiv(stop - start, BLOCK)):
        rows = stop - (block + 1) * BLOCK + lanes
        inside = rows >= start
        mask = (tl.load(mask_ptr + rows, mask=inside, other=0) != 0) & inside
        reward = tl.load(rewards_ptr + rows, mask=mask, other=0.0)
        value = tl.load(values_ptr + rows, mask=mask, other=0.0)

        # The value in force after each row: that of the next row in the mask, else the carry.
        # Read one row further on, where this program has not written: inputs are never outputs.
        beyond = rows + 1
        has_next = (beyond < stop) & (beyond >= start) & (lanes + 1 < BLOCK)
        next_mask = (tl.load(mask_ptr + beyond, mask=has_next, other=0) != 0) & has_next
        next_value = tl.load(values_ptr + beyond, mask=next_mask, other=0.0)
        keep = tl.where(next_mask, 0.0, 1.0)
        keep, following = tl.associative_scan((keep, next_value), 0, _compose, reverse=True)
        following += keep * value_carry

        delta = tl.where(mask, reward + gamma * following - value, 0.0)
        decay = tl.where(mask, gamma * lam, 1.0)
        decay, running = tl.associative_scan((decay, delta), 0, _compose, reverse=True)
        running += decay * carry
        tl.store(out_ptr + rows, tl.where(mask, running, 0.0), mask=inside)

        carry = tl.sum(tl.where(lanes == 0, running, 0.0), 0)
        first = tl.sum(tl.where((lanes == 0) & mask, value, 0.0), 0)
        first_kept = tl.sum(tl.where((lanes == 0) & mask, 1.0, 0.0), 0)
        before = tl.sum(tl.where(lanes == 0, following, 0.0), 0)
        value_carry = tl.where(first_kept > 0, first, before)


@triton.jit
def _returns_kernel(rewards_ptr, mask_ptr, bounds_ptr, out_ptr, gamma, BLOCK: tl.constexpr):
    sequence = tl.program_id(0)
    start = tl.load(bounds_ptr + sequence).to(tl.int64)
    stop = tl.load(bounds_ptr + sequence + 1).to(tl.int64)
    lanes = tl.arange(0, BLOCK)
    carry = tl.sum(tl.zeros([BLOCK], tl.float32), 0)
    for block in range(0, tl.cdiv(stop - start, BLOCK)):
        rows = stop - (block + 1) * BLOCK + lanes
        inside = rows >= start
        mask = (tl.load(mask_ptr + rows, mask=inside, other=0) != 0) & inside
        reward = tl.load(rewards_ptr + rows, mask=mask, other=0.0)
        decay = tl.where(mask, gamma, 1.0)
        decay, running = tl.associative_scan((decay, reward), 0, _compose, reverse=True)
        running += decay * carry
        tl.store(out_ptr + rows, tl.where(mask, running, 0.0), mask=inside)
        carry = tl.sum(tl.where(lanes == 0, running, 0.0), 0)


@triton.jit
def _sums_kernel(values_ptr, mask_ptr, bounds_ptr, sums_ptr, counts_ptr, BLOCK: tl.constexpr):
    sequence = tl.program_id(0)
    start = tl.load(bounds_ptr + sequence).to(tl.int64)
    stop = tl.load(bounds_ptr + sequence + 1).to(tl.int64)
    lanes = tl.arange(0, BLOCK)
    sums = tl.zeros([BLOCK], tl.float32)
    counts = tl.zeros([BLOCK], tl.float32)
    for block in range(0, tl.cdiv(stop - start, BLOCK)):
        rows = start + block * BLOCK + lanes
        inside = rows < stop
        mask = (tl.load(mask_ptr + rows, mask=inside, other=0) != 0) & inside
        sums += tl.load(values_ptr + rows, mask=mask, other=0.0)
        counts += tl.where(mask, 1.0, 0.0)
    tl.store(sums_ptr + sequence, tl.sum(sums, 0))
    tl.store(counts_ptr + sequence, tl.sum(counts, 0))


def gae_triton(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    bootstrap: Tensor,
    cu_seqlens: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """`gae` after its checks."""
    out = torch.zeros_like(rewards)  # rows after the last bound belong to no program
    if sequences := cu_seqlens.shape[0] - 1:
        _gae_kernel[(sequences,)](
            rewards.contiguous(),
            values.contiguous(),
            _bytes(mask),
            bootstrap.contiguous(),
            cu_seqlens,
            out,
            gamma,
            lam,
            BLOCK=BLOCK,
        )
    return out


def returns_triton(rewards: Tensor, mask: Tensor, cu_seqlens: Tensor, gamma: float) -> Tensor:
    """`discounted_returns` after its checks."""
    out = torch.zeros_like(rewards)
    if sequences := cu_seqlens.shape[0] - 1:
        _returns_kernel[(sequences,)](
            rewards.contiguous(), _bytes(mask), cu_seqlens, out, gamma, BLOCK=BLOCK
        )
    return out


def sums_triton(values: Tensor, mask: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and number of rows of each sequence."""
    sequences = cu_seqlens.shape[0] - 1
    sums = torch.empty(sequences, dtype=values.dtype, device=values.device)
    counts = torch.empty_like(sums)
    if sequences:
        _sums_kernel[(sequences,)](
            values.contiguous(), _bytes(mask), cu_seqlens, sums, counts, BLOCK=BLOCK
        )
    return sums, counts


def _bytes(mask: Tensor) -> Tensor:
    return mask.contiguous().view(torch.uint8)
