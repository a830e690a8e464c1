"""`linear_policy_loss`: the public signature, its checks, and the choice of implementation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from headrace.kernels.logp.interface import (
    Impl,
    check_impl,
    check_linear,
    check_rows,
    compute_dtype,
    inverse_temperature,
)
from headrace.kernels.losses import LossConfig, policy_metrics


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class PolicyLoss:
    """What `linear_policy_loss` returns."""

    loss: Tensor
    """Scalar, Σ token_weight · row loss; autograd leads to `hidden` and `weight`."""
    logp: Tensor
    """[N], every row, no gradient."""
    entropy: Tensor
    """[N], nats, no gradient."""
    metrics: dict[str, Tensor]
    """0-d tensors over rows of non-zero weight: see `headrace.kernels.policy_metrics`."""


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


def linear_policy_loss(
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
    impl: Impl = "auto",
    chunk_rows: int | None = None,
) -> PolicyLoss:
    """Σ_n token_weights[n] · row_loss(log softmax(hidden @ weightᵀ / temperature)[n, targets[n]]).

    hidden [N, H] and weight [V, H] in fp32, bf16 or fp16, computed in fp32 (float64 in float64);
    targets [N] int64; all else [N]. `token_weights` hold the whole aggregation (mask, horizon,
    number of episodes). Gradients are formed in the forward pass, `chunk_rows` rows at a time, so
    no [N, V] tensor exists; rows of zero weight, or of zero advantage without KL, cost no
    gradient work. Deterministic. Raises ValueError on inputs that do not fit.

    Example:
        >>> out = linear_policy_loss(hidden, head, ids, advantages=a, behaviour_logp=mu,
        ...                          token_weights=w, loss=LossConfig())  # doctest: +SKIP
        >>> out.loss.backward()  # doctest: +SKIP
    """
    from headrace.kernels.policy_loss.torch import linear_policy_loss_torch

    check_linear(hidden, weight, targets)
    check_impl(impl)
    dtype = compute_dtype(hidden)

    def column(name: str, values: Tensor) -> Tensor:
        check_rows(name, values, hidden.shape[0])
        return values.detach().to(dtype)

    def optional(name: str, values: Tensor | None) -> Tensor | None:
        return None if values is None else column(name, values)

    rows = RowInputs(
        targets=targets,
        advantages=column("advantages", advantages),
        behaviour_logp=column("behaviour_logp", behaviour_logp),
        token_weights=column("token_weights", token_weights),
        inverse_temperature=inverse_temperature(temperature, hidden),
        reference_logp=optional("reference_logp", reference_logp),
        proximal_logp=optional("proximal_logp", proximal_logp),
    )
    value, logp, entropy = linear_policy_loss_torch(hidden, weight, rows, loss, chunk_rows)
    with torch.no_grad():
        metrics = policy_metrics(
            logp,
            entropy=entropy,
            advantages=rows.advantages,
            behaviour_logp=rows.behaviour_logp,
            token_weights=rows.token_weights,
            loss=loss,
            reference_logp=rows.reference_logp,
            proximal_logp=rows.proximal_logp,
        )
    return PolicyLoss(loss=value, logp=logp, entropy=entropy, metrics=metrics)
