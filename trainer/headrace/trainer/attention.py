"""The mask of a pack: a token attends its ancestors and itself.

In depth-first order these are the tokens before it whose subtree has not ended, so the mask is
known from one number a token. `dense_mask` writes it out, [L, L]; `flex_mask` keeps the number and
says which blocks of 128 × 128 are empty, which are full and which must look (FlexAttention,
arXiv 2412.05496).
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from headrace.trainer.batch import IntArray, Pack

BLOCK = 128
"""Tokens of a block, rows and columns alike."""


class Blocks(NamedTuple):
    """Which blocks hold an allowed pair, [Q, K]; Q = K = ⌈L / BLOCK⌉."""

    some: NDArray[np.bool_]
    """At least one pair, not all."""
    full: NDArray[np.bool_]
    """Every pair."""


def dense_mask(pack: Pack, device: torch.device) -> Tensor:
    """[1, 1, L, L] bool, true where the row's token attends the column's."""
    return torch.from_numpy(pack.attention_mask()).to(device)[None, None]


def flex_mask(pack: Pack, device: torch.device) -> BlockMask:
    """The same as blocks; memory grows with (L / BLOCK)²."""
    size = pack.token_ids.size
    ends = torch.from_numpy(pack.subtree_end).to(device, torch.int32)
    found = blocks(pack.subtree_end)

    def attends(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < ends[key])

    some, full = _listed(found.some, device), _listed(found.full, device)
    return BlockMask.from_kv_blocks(
        *some, *full, BLOCK_SIZE=BLOCK, mask_mod=attends, seq_lengths=(size, size)
    )


def blocks(subtree_end: IntArray) -> Blocks:
    """Which blocks of the mask of `subtree_end` [L] are empty, full or neither, without the mask.

    A block before the diagonal holds a pair if one of its keys lives on in the block's first row;
    it is full if all of them live to its last. On the diagonal every token attends itself.
    """
    size = subtree_end.size
    starts = np.arange(0, size, BLOCK)
    longest = np.maximum.reduceat(subtree_end, starts)
    shortest = np.minimum.reduceat(subtree_end, starts)
    first = starts[:, None]
    last = np.minimum(starts + BLOCK, size)[:, None]
    before = starts[None, :] < first
    full = before & (shortest[None, :] >= last)
    some = (before & (longest[None, :] > first) & ~full) | np.eye(starts.size, dtype=bool)
    return Blocks(some, full)


def _listed(held: NDArray[np.bool_], device: torch.device) -> tuple[Tensor, Tensor]:
    """Numbers of blocks [1, 1, Q], and their columns first in each row [1, 1, Q, K]."""
    counts = held.sum(1)
    columns = np.argsort(~held, axis=1, kind="stable")
    return (
        torch.from_numpy(counts).to(device, torch.int32)[None, None],
        torch.from_numpy(columns).to(device, torch.int32)[None, None],
    )
