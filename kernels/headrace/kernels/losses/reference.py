"""Float64 references: log-probabilities from all logits at once, and the row losses, each as its
paper writes it; derivatives by autograd alone.

For tests and error figures only. Stop-gradients are written as `detach`; nothing here is shared
with the torch path.
"""

from itertools import pairwise

import torch
from torch import Tensor

from headrace.kernels.losses.config import LOG_RATIO_LIMIT, LossConfig
from headrace.kernels.losses.result import LogProbs


def linear_logp_reference(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float | Tensor = 1.0
) -> LogProbs:
    """As `linear_logp`, in float64 and differentiable."""
    logits = hidden.double() @ weight.double().t()
    if isinstance(temperature, Tensor):
        logits = logits / temperature.double()[:, None]
    else:
        logits = logits / temperature
    log_softmax = torch.log_softmax(logits, dim=-1)
    return LogProbs(
        logp=log_softmax.gather(1, targets[:, None])[:, 0],
        lse=torch.logsumexp(logits, dim=-1),
        entropy=-(log_softmax.exp() * log_softmax).sum(-1),
    )


def row_loss_reference(
    logp: Tensor,
    *,
    advantages: Tensor,
    behaviour_logp: Tensor,
    loss: LossConfig,
    reference_logp: Tensor | None = None,
    proximal_logp: Tensor | None = None,
    entropy: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Row losses [N] in float64, differentiable in `logp` and `entropy`."""
    advantage, mu = advantages.double(), behaviour_logp.double()
    old = mu if proximal_logp is None else proximal_logp.double()
    if loss.kind == "gspo":
        assert cu_seqlens is not None
        mean = _sequence_mean((logp - old).detach(), cu_seqlens, mask)
        ratio = _exp(mean) * torch.exp(logp - logp.detach())
    else:
        ratio = _exp(logp - old)

    match loss.kind:
        case "reinforce":
            value = -advantage * logp
        case "ppo" | "gspo":
            kept = torch.clip(ratio, 1 - loss.clip_low, 1 + loss.clip_high)
            value = -torch.minimum(ratio * advantage, kept * advantage)
            if loss.dual_clip is not None:
                value = torch.where(
                    advantage < 0, torch.minimum(value, -loss.dual_clip * advantage), value
                )
        case "cispo":
            kept = torch.clip(ratio, 1 - loss.clip_low, 1 + loss.clip_high)
            value = -kept.detach() * advantage * logp
        case "sapo":
            up, down = (
                torch.full_like(mu, tau) for tau in (loss.sapo_tau_positive, loss.sapo_tau_negative)
            )
            tau = torch.where(advantage > 0, up, down)
            value = -advantage * 4 / tau / (1 + torch.exp(-tau * (ratio - 1)))

    if loss.correction != "none":
        target = logp if loss.kind == "reinforce" and proximal_logp is None else old
        rho = _exp(target - mu).detach()
        low, high = loss.weight_bounds
        if loss.correction == "tis":
            value = value * torch.minimum(rho, torch.full_like(rho, high))
        else:
            value = value * rho * ((rho >= low) & (rho <= high))

    if loss.kl_coef > 0:
        assert reference_logp is not None
        delta = logp - reference_logp.double()
        negative = (-delta).clip(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
        estimate = {
            "k1": delta,
            "k2": delta**2 / 2,
            "k3": torch.exp(negative) - 1 - negative,
            "k3_unbiased": _exp(logp - old) * (torch.exp(negative) - 1 - negative),
        }[loss.kl_kind]
        value = value + loss.kl_coef * estimate
    if loss.entropy_coef > 0:
        assert entropy is not None
        value = value - loss.entropy_coef * entropy
    return value


def _exp(log_ratio: Tensor) -> Tensor:
    return torch.exp(log_ratio.clip(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT))


def _sequence_mean(values: Tensor, cu_seqlens: Tensor, mask: Tensor | None) -> Tensor:
    out = torch.zeros_like(values)
    bounds = cu_seqlens.tolist()
    for start, stop in pairwise(bounds):
        part = values[start:stop]
        kept = part if mask is None else part[mask[start:stop]]
        if kept.numel():
            out[start:stop] = kept.mean()
    return out
