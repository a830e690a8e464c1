"""Triton: scans over all rows at once, tile by tile, whatever the sequences' lengths are.

Going backwards over the rows, the state is (x, v): the advantage so far, and the value of the next
row in the mask. A row maps it to (a·x + c·v + b, k·v + w); such maps compose to such maps, so a
tile of rows is an associative scan, and so are the tiles (Blelloch 1990): each tile's map first,
then one program carries the state over the tiles, then each tile is scanned again from its state.
A sequence's last row puts a state of its own in place of what comes from behind it.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

import torch
import triton
import triton.language as tl
from torch import Tensor

from headrace.kernels.device.segments import as_bytes
from headrace.kernels.implementation import interpreted

BLOCK = 16 if interpreted() else 1024


@triton.jit
def _compose(la, lc, lb, lk, lw, ea, ec, eb, ek, ew):
    """The map of the later rows (l), then that of the earlier ones (e)."""
    return (
        ea * la,
        ea * lc + ec * lk,
        ea * lb + ec * lw + eb,
        ek * lk,
        ek * lw + ew,
    )


@triton.jit
def _ends_kernel(bounds_ptr, ends_ptr, sequences, BLOCK: tl.constexpr):
    """Writes the number of each sequence to its last row."""
    sequence = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    start = tl.load(bounds_ptr + sequence, mask=sequence < sequences, other=0)
    stop = tl.load(bounds_ptr + sequence + 1, mask=sequence < sequences, other=0)
    tl.store(ends_ptr + stop - 1, sequence, mask=stop > start)


@triton.jit
def _tile(
    rewards_ptr,
    values_ptr,
    mask_ptr,
    bootstrap_ptr,
    bounds_ptr,
    ends_ptr,
    sequences,
    gamma,
    lam,
    rows,
    VALUES: tl.constexpr,
):
    """Maps of the tile's rows, scanned from its end: at each row, that row and all behind it."""
    total = tl.load(bounds_ptr + sequences)
    inside = rows < total
    mask = (tl.load(mask_ptr + rows, mask=inside, other=0) != 0) & inside
    reward = tl.load(rewards_ptr + rows, mask=mask, other=0.0)
    ends = tl.load(ends_ptr + rows, mask=inside, other=-1)
    if VALUES:
        value = tl.load(values_ptr + rows, mask=mask, other=0.0)
        bootstrap = tl.load(bootstrap_ptr + ends, mask=ends >= 0, other=0.0)
    else:
        value = reward * 0.0
        bootstrap = reward * 0.0
    a = tl.where(mask, gamma * lam, 1.0)
    c = tl.where(mask, gamma, 0.0)
    b = tl.where(mask, reward - value, 0.0)
    k = tl.where(mask, 0.0, 1.0)
    w = tl.where(mask, value, 0.0)
    # Behind a last row there is nothing but the bootstrap value.
    last = ends >= 0
    b = tl.where(last, c * bootstrap + b, b)
    w = tl.where(last, k * bootstrap + w, w)
    a = tl.where(last, 0.0, a)
    c = tl.where(last, 0.0, c)
    k = tl.where(last, 0.0, k)
    a, c, b, k, w = tl.associative_scan((a, c, b, k, w), 0, _compose, reverse=True)
    return a, c, b, k, w, mask


@triton.jit
def _tiles_kernel(
    rewards_ptr,
    values_ptr,
    mask_ptr,
    bootstrap_ptr,
    bounds_ptr,
    ends_ptr,
    maps_ptr,
    sequences,
    tiles,
    gamma,
    lam,
    VALUES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Writes the map of each whole tile, [5, tiles]."""
    tile = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    a, c, b, k, w, _ = _tile(
        rewards_ptr,
        values_ptr,
        mask_ptr,
        bootstrap_ptr,
        bounds_ptr,
        ends_ptr,
        sequences,
        gamma,
        lam,
        tile.to(tl.int64) * BLOCK + lanes,
        VALUES,
    )
    first = lanes == 0
    tl.store(maps_ptr + tile + lanes, a, mask=first)
    tl.store(maps_ptr + tiles + tile + lanes, c, mask=first)
    tl.store(maps_ptr + 2 * tiles + tile + lanes, b, mask=first)
    tl.store(maps_ptr + 3 * tiles + tile + lanes, k, mask=first)
    tl.store(maps_ptr + 4 * tiles + tile + lanes, w, mask=first)


@triton.jit
def _carry_kernel(maps_ptr, states_ptr, tiles, BLOCK: tl.constexpr):
    """One program: the state at the first row of each tile, [2, tiles + 1]; the last is 0."""
    lanes = tl.arange(0, BLOCK)
    x = tl.sum(tl.zeros([BLOCK], tl.float32), 0)
    v = x
    for block in range(0, tl.cdiv(tiles, BLOCK)):
        tile = tiles - (block + 1) * BLOCK + lanes
        there = tile >= 0
        a = tl.load(maps_ptr + tile, mask=there, other=1.0)
        c = tl.load(maps_ptr + tiles + tile, mask=there, other=0.0)
        b = tl.load(maps_ptr + 2 * tiles + tile, mask=there, other=0.0)
        k = tl.load(maps_ptr + 3 * tiles + tile, mask=there, other=1.0)
        w = tl.load(maps_ptr + 4 * tiles + tile, mask=there, other=0.0)
        a, c, b, k, w = tl.associative_scan((a, c, b, k, w), 0, _compose, reverse=True)
        at_x = a * x + c * v + b
        at_v = k * v + w
        tl.store(states_ptr + tile, at_x, mask=there)
        tl.store(states_ptr + tiles + 1 + tile, at_v, mask=there)
        x = tl.sum(tl.where(lanes == 0, at_x, 0.0), 0)
        v = tl.sum(tl.where(lanes == 0, at_v, 0.0), 0)


@triton.jit
def _rows_kernel(
    rewards_ptr,
    values_ptr,
    mask_ptr,
    bootstrap_ptr,
    bounds_ptr,
    ends_ptr,
    states_ptr,
    result_ptr,
    sequences,
    tiles,
    count,
    gamma,
    lam,
    VALUES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Scans each tile again, from the state behind it."""
    tile = tl.program_id(0)
    rows = tile.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    a, c, b, _, _, mask = _tile(
        rewards_ptr,
        values_ptr,
        mask_ptr,
        bootstrap_ptr,
        bounds_ptr,
        ends_ptr,
        sequences,
        gamma,
        lam,
        rows,
        VALUES,
    )
    x = tl.load(states_ptr + tile + 1)
    v = tl.load(states_ptr + tiles + 1 + tile + 1)
    tl.store(result_ptr + rows, tl.where(mask, a * x + c * v + b, 0.0), mask=rows < count)


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
    return _scan(rewards, values.contiguous(), mask, bootstrap.contiguous(), cu_seqlens, gamma, lam)


def returns_triton(rewards: Tensor, mask: Tensor, cu_seqlens: Tensor, gamma: float) -> Tensor:
    """`discounted_returns` after its checks."""
    return _scan(rewards, None, mask, None, cu_seqlens, gamma, 1.0)


def _scan(
    rewards: Tensor,
    values: Tensor | None,
    mask: Tensor,
    bootstrap: Tensor | None,
    cu_seqlens: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    count, sequences = rewards.shape[0], cu_seqlens.shape[0] - 1
    if not count or not sequences:
        return torch.zeros_like(rewards)
    device = rewards.device
    tiles = triton.cdiv(count, BLOCK)
    ends = torch.full((count,), -1, dtype=torch.int32, device=device)
    maps = torch.empty((5, tiles), dtype=torch.float32, device=device)
    states = torch.zeros((2, tiles + 1), dtype=torch.float32, device=device)
    out = torch.empty_like(rewards, memory_format=torch.contiguous_format)
    inputs = (rewards.contiguous(), values, as_bytes(mask), bootstrap, cu_seqlens, ends)
    flags = {"VALUES": values is not None, "BLOCK": BLOCK}
    _ends_kernel[(triton.cdiv(sequences, BLOCK),)](cu_seqlens, ends, sequences, BLOCK=BLOCK)
    if tiles > 1:  # one tile has no state behind it
        _tiles_kernel[(tiles,)](*inputs, maps, sequences, tiles, gamma, lam, **flags)
        _carry_kernel[(1,)](maps, states, tiles, BLOCK=BLOCK)
    _rows_kernel[(tiles,)](*inputs, states, out, sequences, tiles, count, gamma, lam, **flags)
    return out
