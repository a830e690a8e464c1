"""Token weights: how the losses of tokens become the loss of a batch.

Denominators are global. Where a step runs over several micro-batches or ranks, give the totals of
all of them (`tokens`, `sequences`); each part's loss is then summed, never averaged again. They
count the mask as it was before any rejection: what a correction drops must not lift the rest.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from headrace.kernels.losses.segments import segment_of_rows

Aggregation = Literal["horizon", "token_mean", "sequence_mean", "sequence_sum", "token_sum"]


def aggregation_weights(
    mask: Tensor,
    how: Aggregation = "horizon",
    *,
    cu_seqlens: Tensor | None = None,
    horizon: float | None = None,
    tokens: float | Tensor | None = None,
    sequences: float | Tensor | None = None,
    ranks: int = 1,
) -> Tensor:
    """Weight of every row [N], fp32, zero outside `mask` [N].

    - `horizon`: token sum ÷ horizon ÷ sequences, `horizon` a constant (Dr.GRPO, arXiv 2503.20783).
    - `token_mean`: token sum ÷ tokens (DAPO, arXiv 2503.14476).
    - `sequence_mean`: mean of each sequence's token mean (GRPO; GSPO needs this one).
    - `sequence_sum`: token sum ÷ sequences.
    - `token_sum`: ones.

    `tokens` and `sequences` are the batch's totals over all micro-batches and ranks (without them,
    this mask's own: its sum, and its sequences with a row in the mask). `cu_seqlens` [S+1] bounds
    the packed sequences. `ranks`: how many ranks' gradients are averaged afterwards (data-parallel
    wrappers average): weights are multiplied by it. Raises ValueError on what is missing.

    Example:
        >>> import torch
        >>> aggregation_weights(torch.tensor([1, 1, 0, 1]), "token_mean", tokens=6)
        tensor([0.1667, 0.1667, 0.0000, 0.1667])
    """
    if how not in get_args(Aggregation):
        raise ValueError(f"aggregation {how!r} is unknown: use one of {get_args(Aggregation)}")
    if ranks < 1:
        raise ValueError(f"ranks is {ranks}: it must be at least 1")
    weights = (mask != 0).float() * ranks
    if how == "token_sum":
        return weights
    if how == "token_mean":
        return weights / _positive((mask != 0).sum() if tokens is None else tokens)
    if cu_seqlens is None and (sequences is None or how == "sequence_mean"):
        raise ValueError(f"aggregation {how!r} needs cu_seqlens, the bounds of the sequences")
    lengths = None if cu_seqlens is None else _lengths(mask, cu_seqlens)
    if sequences is None:
        assert lengths is not None
        sequences = (lengths > 0).sum()
    weights = weights / _positive(sequences)
    if how == "sequence_mean":
        assert lengths is not None
        assert cu_seqlens is not None
        own = lengths.clamp(min=1)[segment_of_rows(cu_seqlens, mask.shape[0])]
        return weights / own
    if how == "horizon":
        if horizon is None or not horizon > 0:
            raise ValueError(f"horizon is {horizon}: aggregation 'horizon' needs it above 0")
        return weights / horizon
    return weights


def _lengths(mask: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Rows of the mask in each sequence, and one 0 for rows beyond the last."""
    running = torch.nn.functional.pad((mask != 0).long().cumsum(0), (1, 0))
    return torch.nn.functional.pad(running[cu_seqlens[1:]] - running[cu_seqlens[:-1]], (0, 1))


def _positive(count: float | Tensor) -> float | Tensor:
    return count.clamp(min=1) if isinstance(count, Tensor) else max(count, 1)
