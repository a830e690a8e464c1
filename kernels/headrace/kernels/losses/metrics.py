"""What a training step reports of its rows: sums over the rows, and metrics of the sums."""

from typing import NamedTuple

import torch
from torch import Tensor

from headrace.kernels.losses.config import LossConfig
from headrace.kernels.losses.inputs import RowInputs
from headrace.kernels.losses.rows import RowLoss, clamp_log_ratio, row_terms

METRICS = (
    "clip_fraction",
    "dual_clip_fraction",
    "kl_k1",
    "kl_k3",
    "ess",
    "max_ratio",
    "entropy",
    "reference_kl",
    "importance_mean",
    "importance_zero_fraction",
)
"""Their order in the one tensor that operators give."""


class RowSums(NamedTuple):
    """Sums over the rows of non-zero weight, of which loss and metrics are made; 0-d each."""

    loss: Tensor
    """Σ token_weight · row loss."""
    active: Tensor
    """Number of rows of non-zero weight."""
    clipped: Tensor
    dual_clipped: Tensor
    kl_k1: Tensor
    kl_k3: Tensor
    ratio: Tensor
    """π/μ."""
    ratio_squared: Tensor
    entropy: Tensor
    reference_kl: Tensor
    importance: Tensor
    importance_zero: Tensor
    max_ratio: Tensor
    """The largest π/μ, not a sum; 0 where there is no row."""


def policy_metrics(
    rows: RowLoss, logp: Tensor, *, entropy: Tensor, behaviour_logp: Tensor, token_weights: Tensor
) -> dict[str, Tensor]:
    """Plain means over rows of non-zero weight, as 0-d tensors (zeros where there is no such row).

    `rows`: what `row_loss` makes of `logp`; all tensors are [N]. `kl_k1`, `kl_k3`: estimators of
    KL(behaviour ‖ policy). `ess`: (Σr)²/(n·Σr²) of r = π/μ, in (0, 1]. `max_ratio`: largest r. Also
    `clip_fraction`, `dual_clip_fraction`, `entropy` (nats), `reference_kl`, and of the importance
    weight its mean and the share of rows where it is zero.
    """
    return metrics_of(_sums(rows, logp.detach(), entropy.detach(), behaviour_logp, token_weights))


def row_sums(logp: Tensor, entropy: Tensor, rows: RowInputs, loss: LossConfig) -> RowSums:
    """In torch; `headrace.kernels.device.rows` has the same in Triton."""
    terms = row_terms(logp, entropy, rows, loss)
    return _sums(terms, logp, entropy, rows.behaviour_logp, rows.token_weights)


def metrics_of(sums: RowSums) -> dict[str, Tensor]:
    """The metrics of `policy_metrics`."""
    means = RowSums(*(torch.stack(sums) / sums.active.clamp(min=1)).unbind())
    tiny = torch.finfo(means.ratio.dtype).tiny
    return {
        "clip_fraction": means.clipped,
        "dual_clip_fraction": means.dual_clipped,
        "kl_k1": means.kl_k1,
        "kl_k3": means.kl_k3,
        "ess": means.ratio.square() / means.ratio_squared.clamp(min=tiny),
        "max_ratio": sums.max_ratio,
        "entropy": means.entropy,
        "reference_kl": means.reference_kl,
        "importance_mean": means.importance,
        "importance_zero_fraction": means.importance_zero,
    }


def packed_metrics(sums: RowSums) -> Tensor:
    """The metrics as one tensor, which is what an operator can give."""
    values = metrics_of(sums)
    return torch.stack([values[name] for name in METRICS])


def unpacked_metrics(packed: Tensor) -> dict[str, Tensor]:
    """What `packed_metrics` packed, by name."""
    return dict(zip(METRICS, packed.unbind(), strict=True))


def _sums(
    terms: RowLoss, logp: Tensor, entropy: Tensor, behaviour_logp: Tensor, token_weights: Tensor
) -> RowSums:
    active = token_weights != 0

    def total(values: Tensor) -> Tensor:
        # A masked row may hold anything, NaN included: it must not reach the sum.
        return torch.where(active, values.to(logp.dtype), 0.0).sum()

    log_ratio = clamp_log_ratio(logp - behaviour_logp)
    ratio = torch.where(active, log_ratio.exp(), 0.0)
    return RowSums(
        loss=total(token_weights * terms.loss),
        active=total(active),
        clipped=total(terms.clipped),
        dual_clipped=total(terms.dual_clipped),
        kl_k1=total(-log_ratio),
        kl_k3=total(torch.expm1(log_ratio) - log_ratio),
        ratio=ratio.sum(),
        ratio_squared=ratio.square().sum(),
        entropy=total(entropy),
        reference_kl=total(terms.reference_kl),
        importance=total(terms.importance),
        importance_zero=total(terms.importance == 0),
        max_ratio=ratio.max() if ratio.numel() else ratio.sum(),
    )
