"""Which rows of a batch need what work."""

from typing import NamedTuple

import torch
from torch import Tensor

from headrace.kernels.losses.config import LossConfig
from headrace.kernels.losses.inputs import RowInputs
from headrace.kernels.losses.segments import segment_means_of_rows


class Selection(NamedTuple):
    """Indices of rows; all others have no weight and are left out altogether."""

    learning: Tensor
    """Rows whose gradient is formed."""
    resting: Tensor
    """Rows of which only the log-probability is wanted."""


def select_rows(
    rows: RowInputs, loss: LossConfig, *, gradients: bool, active_rows: int | None
) -> Selection:
    """Sorts the rows. Counting them stops the host, unless `active_rows` bounds them."""
    active = rows.active
    if active_rows is not None:
        first = _foremost(active, active_rows)
        nothing = first[:0]
        return Selection(first, nothing) if gradients else Selection(nothing, first)
    if not gradients:
        learning = torch.zeros_like(active)
    elif loss.needs_every_row:
        learning = active
    else:
        # Zero advantage has neither gradient nor loss, in every kind of row.
        learning = active & (rows.advantages != 0)
        if loss.needs_sequences and rows.cu_seqlens is not None:
            share = segment_means_of_rows(learning.float(), rows.cu_seqlens, None)
            learning = active & (share > 0)
    return Selection(torch.nonzero(learning)[:, 0], torch.nonzero(active & ~learning)[:, 0])


def _foremost(active: Tensor, count: int) -> Tensor:
    """`count` rows, active ones first; all of them as they stand."""
    if count == active.shape[0]:
        return torch.arange(count, device=active.device)
    return torch.argsort(~active, stable=True)[:count]


def poison_if_cut(total: Tensor, rows: RowInputs, active_rows: int | None) -> Tensor:
    """NaN in place of a loss that left rows out, so that a wrong `active_rows` is not silent."""
    if active_rows is None:
        return total
    return torch.where(rows.active.sum() > active_rows, torch.nan, total)
