"""Row mathematics: the one place where policy losses are defined.

A row is one sampled token. Each loss gives its value `l` and its derivative `g = dl/dlogp` with
respect to the log-probability of that token; the gradient at the logits is then
`g * (onehot - softmax) / temperature`, whatever the loss. Values are before token weights.

GRPO, Dr.GRPO and PPO have the same row (`kind="ppo"`): they differ in how advantages are normalised
and how tokens are weighted, which is the caller's part.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are clamped to ± this before `exp`; beyond it the derivative is zero."""

LossKind = Literal["reinforce", "ppo"]


@dataclass(kw_only=True, slots=True, frozen=True)
class LossConfig:
    """Which row loss, and its constants."""

    kind: LossKind = "ppo"
    """`reinforce`: -w·A·logp. `ppo`: the clipped ratio to the proximal policy (arXiv 1707.06347),
    which is the behaviour policy unless proximal log-probabilities are given."""
    clip_low: float = 0.2
    """PPO keeps the ratio above 1 - clip_low."""
    clip_high: float = 0.2
    """PPO keeps the ratio below 1 + clip_high (asymmetric as in DAPO, arXiv 2503.14476)."""
    dual_clip: float | None = None
    """For A < 0 the loss is at most -dual_clip·A (arXiv 1912.09729); above 1, often 3."""
    tis_cap: float | None = None
    """Truncated importance weight w = min(π_old/μ, cap), held constant. For `reinforce` π_old is
    the current policy; for `ppo` it is the proximal policy, which must then be given (a ratio to
    the behaviour policy is already corrected: a weight on top would count it twice)."""
    kl_coef: float = 0.0
    """Coefficient of the k3 KL to a reference policy, e^{-δ} - 1 + δ with δ = logπ - logπ_ref."""

    def __post_init__(self) -> None:
        if self.kind not in ("reinforce", "ppo"):
            raise ValueError(f"loss kind {self.kind!r} is unknown: use 'reinforce' or 'ppo'")
        if not 0.0 <= self.clip_low <= 1.0:
            raise ValueError(f"clip_low is {self.clip_low}: it must lie in [0, 1]")
        if self.clip_high < 0.0:
            raise ValueError(f"clip_high is {self.clip_high}: it must not be negative")
        if self.dual_clip is not None and self.dual_clip <= 1.0:
            raise ValueError(f"dual_clip is {self.dual_clip}: it must be above 1, or None")
        if self.tis_cap is not None and self.tis_cap <= 0.0:
            raise ValueError(f"tis_cap is {self.tis_cap}: it must be above 0, or None")
        if self.kl_coef < 0.0:
            raise ValueError(f"kl_coef is {self.kl_coef}: it must not be negative")


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class RowLoss:
    """Loss of each row [N] and what it is made of."""

    loss: Tensor
    """Differentiable in `logp`; its autograd derivative equals `grad`."""
    grad: Tensor
    """dl/dlogp, closed form."""
    clipped: Tensor
    """bool: the clipped branch of PPO is the larger one."""
    dual_clipped: Tensor
    """bool: the dual clip holds the loss."""
    reference_kl: Tensor
    """k3 to the reference policy; zeros without one."""


def row_loss(
    logp: Tensor,
    *,
    advantages: Tensor,
    behaviour_logp: Tensor,
    loss: LossConfig,
    reference_logp: Tensor | None = None,
    proximal_logp: Tensor | None = None,
) -> RowLoss:
    """Loss and derivative of every row, before token weights; all tensors are [N].

    Raises ValueError when the configuration needs log-probabilities that were not given.
    """
    if loss.kind == "reinforce":
        rows = _reinforce(logp, advantages, behaviour_logp, loss, proximal_logp)
    else:
        rows = _ppo(logp, advantages, behaviour_logp, loss, proximal_logp)
    if loss.kl_coef == 0.0:
        return rows
    if reference_logp is None:
        raise ValueError("kl_coef is above 0: pass reference_logp, or set kl_coef to 0")
    value, grad = _k3(logp, reference_logp)
    return RowLoss(
        loss=rows.loss + loss.kl_coef * value,
        grad=rows.grad + loss.kl_coef * grad,
        clipped=rows.clipped,
        dual_clipped=rows.dual_clipped,
        reference_kl=value.detach(),
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
) -> dict[str, Tensor]:
    """Plain means over rows of non-zero weight, as 0-d tensors (zeros where there is no such row).

    `kl_k1`, `kl_k3`: estimators of KL(behaviour ‖ policy). `ess`: (Σr)²/(n·Σr²) of r = π/μ, in
    (0, 1]. `max_ratio`: largest r. Also `clip_fraction`, `dual_clip_fraction`, `entropy` (nats) and
    `reference_kl`.
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
    )
    count = active.sum().clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(active, values.to(logp.dtype), 0.0).sum() / count

    log_ratio = _clamp(logp - behaviour_logp)
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
    }


def _clamp(log_ratio: Tensor) -> Tensor:
    return log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def _tis_weight(old_logp: Tensor, behaviour_logp: Tensor, cap: float | None) -> Tensor | float:
    if cap is None:
        return 1.0
    return _clamp(old_logp.detach() - behaviour_logp).exp().clamp(max=cap)


def _reinforce(
    logp: Tensor,
    advantages: Tensor,
    behaviour_logp: Tensor,
    loss: LossConfig,
    proximal_logp: Tensor | None,
) -> RowLoss:
    old = logp if proximal_logp is None else proximal_logp
    grad = -_tis_weight(old, behaviour_logp, loss.tis_cap) * advantages
    never = torch.zeros_like(logp, dtype=torch.bool)
    return RowLoss(
        loss=grad * logp,
        grad=grad,
        clipped=never,
        dual_clipped=never,
        reference_kl=torch.zeros_like(logp),
    )


def _ppo(
    logp: Tensor,
    advantages: Tensor,
    behaviour_logp: Tensor,
    loss: LossConfig,
    proximal_logp: Tensor | None,
) -> RowLoss:
    if loss.tis_cap is not None and proximal_logp is None:
        raise ValueError(
            "tis_cap with kind 'ppo' needs proximal_logp: against the behaviour policy the ratio "
            "is corrected already. Pass proximal_logp, or set tis_cap to None"
        )
    old = behaviour_logp if proximal_logp is None else proximal_logp
    log_ratio = logp - old
    ratio = _clamp(log_ratio).exp()
    plain = -advantages * ratio
    bounded = -advantages * ratio.clamp(1.0 - loss.clip_low, 1.0 + loss.clip_high)
    value = torch.maximum(plain, bounded)
    moves = (plain >= bounded) & (log_ratio.abs() <= LOG_RATIO_LIMIT)
    held = torch.zeros_like(moves)
    if loss.dual_clip is not None:
        ceiling = -loss.dual_clip * advantages
        held = (advantages < 0) & (value > ceiling)
        value = torch.where(held, ceiling, value)
        moves &= ~held
    weight = _tis_weight(old, behaviour_logp, loss.tis_cap)
    return RowLoss(
        loss=weight * value,
        grad=weight * torch.where(moves, plain, 0.0),
        clipped=bounded > plain,
        dual_clipped=held,
        reference_kl=torch.zeros_like(logp),
    )


def _k3(logp: Tensor, reference_logp: Tensor) -> tuple[Tensor, Tensor]:
    """k3 estimator of KL(policy ‖ reference) and its derivative (joschu.net/blog/kl-approx)."""
    negative = reference_logp - logp
    bounded = _clamp(negative)
    inside = negative.abs() <= LOG_RATIO_LIMIT
    growth = torch.expm1(bounded)
    return growth - bounded, torch.where(inside, -growth, 0.0)
