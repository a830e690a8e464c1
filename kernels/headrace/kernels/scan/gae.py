"""Generalised advantage estimation over packed sequences, by token and by turn."""

import torch
from torch import Tensor

from headrace.kernels.implementation import Impl, choose
from headrace.kernels.losses.segments import segment_of_rows
from headrace.kernels.scan.interface import SCAN_DTYPES, checked, segment_sums
from headrace.kernels.scan.operators import gae_operator


def gae(
    rewards: Tensor,
    values: Tensor,
    cu_seqlens: Tensor,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    mask: Tensor | None = None,
    bootstrap: Tensor | None = None,
    impl: Impl = "auto",
) -> tuple[Tensor, Tensor]:
    """Advantages and returns of every token (arXiv 1506.02438), [N] each.

    δ_t = r_t + gamma·V_next - V_t, A_t = δ_t + gamma·lam·A_next, where next is the next row of the
    mask in the sequence: observation tokens between two sampled ones are skipped, their rewards
    too. `bootstrap` [S] is the value after each sequence's last token (0 without it: the sequence
    ended; give the last value where it was cut). rewards and values [N], fp32 or float64. Returns
    are A + V, before any whitening. Raises ValueError on shapes that do not fit.
    """
    keep = checked(rewards, cu_seqlens, mask, impl)
    if values.shape != rewards.shape or values.dtype != rewards.dtype:
        raise ValueError(
            f"values are {values.dtype} {tuple(values.shape)}: they must be like the rewards, "
            f"{rewards.dtype} {tuple(rewards.shape)}"
        )
    sequences = cu_seqlens.shape[0] - 1
    if bootstrap is None:
        bootstrap = rewards.new_zeros(sequences)
    elif bootstrap.shape != (sequences,):
        raise ValueError(f"bootstrap is {tuple(bootstrap.shape)}: it must be [S] = [{sequences}]")
    values = values.detach()
    advantages = gae_operator(
        rewards.detach(),
        values,
        keep,
        bootstrap.detach().to(rewards.dtype),
        cu_seqlens,
        gamma,
        lam,
        choose(impl, SCAN_DTYPES, rewards),
    )
    return advantages, torch.where(keep, advantages + values, 0.0)


def turn_gae(
    rewards: Tensor,
    values: Tensor,
    cu_seqlens: Tensor,
    cu_turns: Tensor,
    *,
    gamma: float = 0.99,
    lam: float = 0.9,
    mask: Tensor | None = None,
    bootstrap: Tensor | None = None,
    impl: Impl = "auto",
) -> tuple[Tensor, Tensor]:
    """As `gae`, with turns as its steps (arXiv 2512.17008): one advantage a turn, for all its rows.

    Turn k is rows cu_turns[k] to cu_turns[k+1] ([T+1], rising from 0; every bound of cu_seqlens is
    one of them). Its value is that of its first row in the mask, its reward the sum over its rows
    in the mask; turns without such a row are skipped. A KL penalty on tokens is added outside:
    advantages + penalty.
    """
    keep = checked(rewards, cu_seqlens, mask, impl)
    if rewards.shape[0] == 0:
        return torch.zeros_like(rewards), torch.zeros_like(rewards)
    turn_rewards = segment_sums(rewards, cu_turns, mask=keep, impl=impl)
    first, lasting = _first_kept(keep, cu_turns)
    advantages, returns = gae(
        turn_rewards,
        values.detach()[first],
        torch.searchsorted(cu_turns, cu_seqlens).to(cu_seqlens.dtype),
        gamma=gamma,
        lam=lam,
        mask=lasting,
        bootstrap=bootstrap,
        impl=impl,
    )
    turn = segment_of_rows(cu_turns, rewards.shape[0])
    inside = keep & (turn < turn_rewards.shape[0])
    turn = turn.clamp(max=max(turn_rewards.shape[0] - 1, 0))
    return (
        torch.where(inside, advantages[turn], 0.0),
        torch.where(inside, returns[turn], 0.0),
    )


def _first_kept(keep: Tensor, cu_turns: Tensor) -> tuple[Tensor, Tensor]:
    """Each turn's first row in the mask (any row where there is none), and whether there is one."""
    before = torch.nn.functional.pad(keep.long().cumsum(0), (1, 0))
    start, stop = before[cu_turns[:-1]], before[cu_turns[1:]]
    # The row with `start` kept rows before it that is kept itself: where the count passes `start`.
    first = torch.searchsorted(before[1:].contiguous(), start, right=True)
    return first.clamp(max=keep.shape[0] - 1), stop > start
