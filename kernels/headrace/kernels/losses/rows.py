"""Loss and derivative of every row, in torch.

Each loss gives its value `l` and its derivative `g = dl/dlogp` with
respect to the log-probability of that token; the gradient at the logits is then
`g * (onehot - softmax) / temperature`, whatever the loss, plus the entropy bonus's
`c * softmax * (log softmax + entropy) / temperature`. Values are before token weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from headrace.kernels.losses.config import LOG_RATIO_LIMIT, LossConfig
from headrace.kernels.losses.inputs import RowInputs, check_given
from headrace.kernels.losses.segments import segment_means_of_rows


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class RowLoss:
    """Loss of each row [N] and what it is made of."""

    loss: Tensor
    """Differentiable in `logp` (and in `entropy`, where there is a bonus); its autograd derivative
    equals `grad`."""
    grad: Tensor
    """dl/dlogp, closed form. (dl/dentropy is -entropy_coef.)"""
    clipped: Tensor
    """bool: the bound of the clip holds the row (`sapo`, `reinforce`: never)."""
    dual_clipped: Tensor
    """bool: the dual clip holds the loss."""
    importance: Tensor
    """Importance weight of `tis_cap` or `mis_bounds`; ones without."""
    reference_kl: Tensor
    """Estimate of the KL to the reference policy; zeros without one."""


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class _Policy:
    """The policy's own part of a row, before importance weight and KL."""

    value: Tensor
    grad: Tensor
    clipped: Tensor
    dual_clipped: Tensor


def row_loss(
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
) -> RowLoss:
    """Loss and derivative of every row, before token weights; all tensors are [N].

    `entropy` is needed with an entropy bonus. `gspo` needs `cu_seqlens` [S+1], the bounds of the
    packed sequences, and takes its mean over the rows of `mask` (bool; all rows without it).
    Raises ValueError when the configuration needs something that was not given.
    """
    check_given(loss, reference_logp, proximal_logp, cu_seqlens)
    if loss.entropy_coef > 0.0 and entropy is None:
        raise ValueError("entropy_coef is above 0: pass entropy, or set entropy_coef to 0")
    old = behaviour_logp if proximal_logp is None else proximal_logp
    if loss.kind == "reinforce":
        policy = _reinforce(logp, advantages)
    elif loss.kind == "cispo":
        policy = _cispo(logp, old, advantages, loss)
    elif loss.kind == "sapo":
        policy = _sapo(logp, old, advantages, loss)
    else:
        sequence = None
        if cu_seqlens is not None and loss.kind == "gspo":
            sequence = segment_means_of_rows(logp.detach() - old, cu_seqlens, mask)
        policy = _clipped(logp, old, advantages, loss, sequence)

    current = logp if loss.kind == "reinforce" and proximal_logp is None else old
    importance = _importance(current, behaviour_logp, loss)
    value, grad = importance * policy.value, importance * policy.grad
    reference_kl = torch.zeros_like(logp)
    if reference_logp is not None and loss.kl_coef > 0.0:
        reference_kl, slope = _kl(logp, old, reference_logp, loss)
        value, grad = value + loss.kl_coef * reference_kl, grad + loss.kl_coef * slope
    if entropy is not None and loss.entropy_coef > 0.0:
        value = value - loss.entropy_coef * entropy
    return RowLoss(
        loss=value,
        grad=grad,
        clipped=policy.clipped,
        dual_clipped=policy.dual_clipped,
        importance=importance,
        reference_kl=reference_kl.detach(),
    )


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


def clamp_log_ratio(log_ratio: Tensor) -> Tensor:
    return log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def _importance(old: Tensor, behaviour_logp: Tensor, loss: LossConfig) -> Tensor:
    if loss.correction == "none":
        return torch.ones_like(behaviour_logp)
    ratio = clamp_log_ratio(old.detach() - behaviour_logp).exp()
    low, high = loss.weight_bounds
    if loss.correction == "tis":
        return ratio.clamp(max=high)
    return torch.where((ratio >= low) & (ratio <= high), ratio, 0.0)


def _reinforce(logp: Tensor, advantages: Tensor) -> _Policy:
    never = torch.zeros_like(logp, dtype=torch.bool)
    return _Policy(value=-advantages * logp, grad=-advantages, clipped=never, dual_clipped=never)


def _clipped(
    logp: Tensor, old: Tensor, advantages: Tensor, loss: LossConfig, sequence: Tensor | None
) -> _Policy:
    """PPO, or GSPO where `sequence` holds the mean log-ratio of each row's sequence."""
    # GSPO-token: the value is the sequence's, the derivative the token's own.
    log_ratio = logp - old if sequence is None else sequence + (logp - logp.detach())
    ratio = clamp_log_ratio(log_ratio).exp()
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
    return _Policy(
        value=value,
        grad=torch.where(moves, plain, 0.0),
        clipped=bounded > plain,
        dual_clipped=held,
    )


def _cispo(logp: Tensor, old: Tensor, advantages: Tensor, loss: LossConfig) -> _Policy:
    ratio = clamp_log_ratio(logp.detach() - old).exp()
    bounded = ratio.clamp(1.0 - loss.clip_low, 1.0 + loss.clip_high)
    grad = -bounded * advantages
    return _Policy(
        value=grad * logp,
        grad=grad,
        clipped=bounded != ratio,
        dual_clipped=torch.zeros_like(logp, dtype=torch.bool),
    )


def _sapo(logp: Tensor, old: Tensor, advantages: Tensor, loss: LossConfig) -> _Policy:
    log_ratio = logp - old
    ratio = clamp_log_ratio(log_ratio).exp()
    tau = torch.full_like(advantages, loss.sapo_tau_negative)
    tau = tau.masked_fill(advantages > 0, loss.sapo_tau_positive)
    gate = torch.sigmoid(tau * (ratio - 1.0))
    slope = -advantages * ratio * 4.0 * gate * (1.0 - gate)
    never = torch.zeros_like(logp, dtype=torch.bool)
    return _Policy(
        value=-advantages * (4.0 / tau) * gate,
        grad=torch.where(log_ratio.abs() <= LOG_RATIO_LIMIT, slope, 0.0),
        clipped=never,
        dual_clipped=never,
    )


def _kl(
    logp: Tensor, old: Tensor, reference_logp: Tensor, loss: LossConfig
) -> tuple[Tensor, Tensor]:
    """Estimator of KL(policy ‖ reference) and its derivative (joschu.net/blog/kl-approx)."""
    delta = logp - reference_logp
    if loss.kl_kind == "k1":
        return delta, torch.ones_like(delta)
    if loss.kl_kind == "k2":
        return delta.square() / 2, delta
    bounded = clamp_log_ratio(-delta)
    growth = torch.expm1(bounded)
    estimate = growth - bounded
    slope = torch.where(delta.abs() <= LOG_RATIO_LIMIT, -growth, 0.0)
    if loss.kl_kind == "k3":
        return estimate, slope
    log_ratio = logp - old
    ratio = clamp_log_ratio(log_ratio).exp()
    slope = slope + torch.where(log_ratio.abs() <= LOG_RATIO_LIMIT, estimate, 0.0)
    return ratio * estimate, ratio * slope
