"""Float64 reference: all logits at once, plain autograd. For tests and error figures only."""

import torch
from torch import Tensor

from headrace.kernels.logp.reference import linear_logp_reference
from headrace.kernels.losses import LossConfig, row_loss


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
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, logp, entropy) in float64; autograd leads through all of it to the inputs."""
    stats = linear_logp_reference(hidden, weight, targets, temperature)
    rows = row_loss(
        stats.logp,
        advantages=advantages.double(),
        behaviour_logp=behaviour_logp.double(),
        loss=loss,
        reference_logp=None if reference_logp is None else reference_logp.double(),
        proximal_logp=None if proximal_logp is None else proximal_logp.double(),
    )
    weights = token_weights.double()
    # A masked row may hold anything, NaN included: it must not reach the sum.
    total = torch.where(weights != 0, weights * rows.loss, 0.0).sum()
    return total, stats.logp, stats.entropy
