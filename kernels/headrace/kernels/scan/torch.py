"""Plain torch: linear recurrences by doubling, log₂(N) steps over all sequences at once."""

import torch
from torch import Tensor

from headrace.kernels.losses.segments import segment_of_rows


def gae_torch(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    bootstrap: Tensor,
    cu_seqlens: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """`gae` after its checks: two recurrences, the next value in the mask and the advantage."""
    values = torch.where(mask, values, 0.0)
    after = _from_next(values, mask, bootstrap, cu_seqlens)
    delta = torch.where(mask, rewards + gamma * after - values, 0.0)
    decay = torch.where(mask, gamma * lam, 1.0).to(rewards.dtype)
    running = _recurrence(decay, delta, cu_seqlens)
    return torch.where(mask & _inside(mask, cu_seqlens), running, 0.0)


def returns_torch(rewards: Tensor, mask: Tensor, cu_seqlens: Tensor, gamma: float) -> Tensor:
    """`discounted_returns` after its checks."""
    decay = torch.where(mask, gamma, 1.0).to(rewards.dtype)
    running = _recurrence(decay, torch.where(mask, rewards, 0.0), cu_seqlens)
    return torch.where(mask & _inside(mask, cu_seqlens), running, 0.0)


def sums_torch(values: Tensor, mask: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and number of rows of each sequence."""
    held, kept = torch.where(mask, values, 0.0), mask.to(values.dtype)
    if values.shape[0] == 0:
        nothing = values.new_zeros(cu_seqlens.shape[0] - 1)
        return nothing, nothing.clone()
    sums, counts = (
        torch.segment_reduce(part, "sum", offsets=cu_seqlens.long(), axis=0, unsafe=True)
        for part in (held, kept)
    )
    return sums, counts


def _recurrence(decay: Tensor, start: Tensor, cu_seqlens: Tensor) -> Tensor:
    """x_t = decay_t · x_{t+1} + start_t, x = 0 beyond each sequence's end."""
    lasts = torch.zeros_like(decay, dtype=torch.bool)
    ends = cu_seqlens[1:] - 1
    lasts[ends[ends >= 0]] = True
    decay, running = decay.masked_fill(lasts, 0.0), start
    shift = 1
    while shift < running.shape[0]:
        # Each element holds the recurrence over `shift` rows from its own on.
        further = torch.nn.functional.pad(running[shift:], (0, shift))
        running = running + decay * further
        decay = decay * torch.nn.functional.pad(decay[shift:], (0, shift))
        shift *= 2
    return running


def _from_next(values: Tensor, mask: Tensor, bootstrap: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Value of the next row of the mask in the sequence, else the sequence's bootstrap."""
    rows = values.shape[0]
    sequence = segment_of_rows(cu_seqlens, rows)
    # Place of the nearest kept row at or after each place, `rows` where there is none.
    places = torch.arange(rows, device=values.device)
    kept = torch.where(mask, places, rows).flip(0).cummin(0).values.flip(0)
    following = torch.nn.functional.pad(kept[1:], (0, 1), value=rows)
    end = torch.nn.functional.pad(cu_seqlens[1:], (0, 1), value=rows)[sequence]
    tail = torch.nn.functional.pad(bootstrap, (0, 1))[sequence]
    found = values[following.clamp(max=max(rows - 1, 0))] if rows else values
    return torch.where(following < end, found, tail)


def _inside(mask: Tensor, cu_seqlens: Tensor) -> Tensor:
    return torch.arange(mask.shape[0], device=mask.device) < cu_seqlens[-1]
