"""What a training step reports of its rows."""

import torch
from torch import Tensor

from headrace.kernels.losses.config import LossConfig
from headrace.kernels.losses.rows import clamp_log_ratio, row_loss

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


def policy_metrics(
    logp: Tensor,
    *,
    entropy: Tensor,
    advantages: Tensor,
    behaviour_logp: Tensor,
    token_weights: Tensor,
    loss: LossConfig,
    reference_logp: Tensor | None = None,
    proximal_logp: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> dict[str, Tensor]:
    """Plain means over rows of non-zero weight, as 0-d tensors (zeros where there is no such row).

    `kl_k1`, `kl_k3`: estimators of KL(behaviour ‖ policy). `ess`: (Σr)²/(n·Σr²) of r = π/μ, in
    (0, 1]. `max_ratio`: largest r. Also `clip_fraction`, `dual_clip_fraction`, `entropy` (nats),
    `reference_kl`, and of the importance weight its mean and the share of rows where it is zero.
    """
    logp = logp.detach()
    active = token_weights != 0
    rows = row_loss(
        logp,
        advantages=advantages,
        behaviour_logp=behaviour_logp,
        loss=loss,
        reference_logp=reference_logp,
        proximal_logp=proximal_logp,
        entropy=entropy.detach(),
        cu_seqlens=cu_seqlens,
        mask=active,
    )
    count = active.sum().clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(active, values.to(logp.dtype), 0.0).sum() / count

    log_ratio = clamp_log_ratio(logp - behaviour_logp)
    ratio = torch.where(active, log_ratio.exp(), 0.0)
    tiny = torch.finfo(ratio.dtype).tiny
    return {
        "clip_fraction": mean(rows.clipped),
        "dual_clip_fraction": mean(rows.dual_clipped),
        "kl_k1": mean(-log_ratio),
        "kl_k3": mean(torch.expm1(log_ratio) - log_ratio),
        "ess": ratio.sum().square() / (count * ratio.square().sum()).clamp(min=tiny),
        "max_ratio": ratio.max() if ratio.numel() else ratio.sum(),
        "entropy": mean(entropy.detach()),
        "reference_kl": mean(rows.reference_kl),
        "importance_mean": mean(rows.importance),
        "importance_zero_fraction": mean(rows.importance == 0),
    }
