"""The rows of a batch, and which of them need what work."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from headrace.kernels.losses import LossConfig, RowLoss, policy_metrics, row_loss
from headrace.kernels.losses.segments import segment_means_of_rows


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class RowInputs:
    """Per-row inputs [N] in the compute dtype (targets int64)."""

    targets: Tensor
    advantages: Tensor
    behaviour_logp: Tensor
    token_weights: Tensor
    inverse_temperature: Tensor
    reference_logp: Tensor | None
    proximal_logp: Tensor | None
    cu_seqlens: Tensor | None

    @property
    def active(self) -> Tensor:
        """bool [N]: rows of non-zero weight."""
        return self.token_weights != 0


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


def row_terms(
    logp: Tensor, entropy: Tensor, rows: RowInputs, loss: LossConfig, index: Tensor | None = None
) -> RowLoss:
    """Row losses of the rows at `index` (all rows without it; a sequence loss needs all)."""
    assert index is None or not loss.needs_sequences

    def pick(values: Tensor) -> Tensor:
        return values if index is None else values[index]

    def optional(values: Tensor | None) -> Tensor | None:
        return None if values is None else pick(values)

    return row_loss(
        logp,
        advantages=pick(rows.advantages),
        behaviour_logp=pick(rows.behaviour_logp),
        loss=loss,
        reference_logp=optional(rows.reference_logp),
        proximal_logp=optional(rows.proximal_logp),
        entropy=entropy,
        cu_seqlens=rows.cu_seqlens if index is None else None,
        mask=pick(rows.active),
    )


def total_loss(logp: Tensor, entropy: Tensor, rows: RowInputs, loss: LossConfig) -> Tensor:
    """Σ token_weight · row loss."""
    values = row_terms(logp, entropy, rows, loss).loss
    # A masked row may hold anything, NaN included: it must not reach the sum.
    return torch.where(rows.active, rows.token_weights * values, 0.0).sum()


def metrics_of(logp: Tensor, entropy: Tensor, rows: RowInputs, loss: LossConfig) -> Tensor:
    """The values of `policy_metrics`, in their order, as one tensor."""
    values = policy_metrics(
        logp,
        entropy=entropy,
        advantages=rows.advantages,
        behaviour_logp=rows.behaviour_logp,
        token_weights=rows.token_weights,
        loss=loss,
        reference_logp=rows.reference_logp,
        proximal_logp=rows.proximal_logp,
        cu_seqlens=rows.cu_seqlens,
    )
    return torch.stack(list(values.values()))


def poison_if_cut(total: Tensor, rows: RowInputs, active_rows: int | None) -> Tensor:
    """NaN in place of a loss that left rows out, so that a wrong `active_rows` is not silent."""
    if active_rows is None:
        return total
    return torch.where(rows.active.sum() > active_rows, torch.nan, total)
