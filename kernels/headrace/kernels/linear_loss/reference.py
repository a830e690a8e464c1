"""Float64 reference: all logits at once, plain autograd. For tests and error figures only."""

import torch
from torch import Tensor

from headrace.kernels.losses import LossConfig
from headrace.kernels.losses.reference import linear_logp_reference, row_loss_reference


def linear_policy_loss_reference(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    advantages: Tensor,
    behaviour_logp: Tensor,
    token_weights: Tensor,
    temperature: float | Tensor = 1.0,
    loss: LossConfig,
    reference_logp: Tensor | None = None,
    proximal_logp: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, logp, entropy) in float64; autograd leads through all of it to the inputs."""
    stats = linear_logp_reference(hidden, weight, targets, temperature)
    weights = token_weights.double()
    rows = row_loss_reference(
        stats.logp,
        advantages=advantages,
        behaviour_logp=behaviour_logp,
        loss=loss,
        reference_logp=reference_logp,
        proximal_logp=proximal_logp,
        entropy=stats.entropy,
        cu_seqlens=cu_seqlens,
        mask=weights != 0,
    )
    # A masked row may hold anything, NaN included: it must not reach the sum.
    total = torch.where(weights != 0, weights * rows, 0.0).sum()
    return total, stats.logp, stats.entropy
