"""`policy_loss`: the public signature and its checks."""

import torch
from torch import Tensor

from headrace.kernels.implementation import Impl, check_impl, choose
from headrace.kernels.known_gradients import with_gradients
from headrace.kernels.logits_loss.operators import policy_gradients
from headrace.kernels.losses.config import LossConfig
from headrace.kernels.losses.inputs import check_targets, row_columns
from headrace.kernels.losses.metrics import unpacked_metrics
from headrace.kernels.losses.result import PolicyLoss

TRITON_DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def policy_loss(
    logits: Tensor,
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
    impl: Impl = "auto",
    inplace: bool = False,
) -> PolicyLoss:
    """As `linear_policy_loss`, for logits [N, V] that exist already (fp32, bf16 or fp16).

    Each row is read, then read once more and written as its gradient while it is still in the
    cache; rows of zero weight are not read. `inplace` writes the gradient over the logits, which
    nothing else may then need (autograd notices if an earlier operation does); without it the
    gradient takes as much memory again. Deterministic. Raises ValueError on inputs that do not fit.
    """
    _check_logits(logits, targets)
    check_impl(impl)
    wanted = torch.is_grad_enabled() and logits.requires_grad
    grad = None
    if wanted:
        grad = logits.detach() if inplace else torch.empty_like(logits.detach())
    name, numbers = loss.encode()
    value, logp, entropy, metrics = policy_gradients(
        logits.detach(),
        targets,
        *row_columns(
            logits,
            loss=loss,
            advantages=advantages,
            behaviour_logp=behaviour_logp,
            token_weights=token_weights,
            temperature=temperature,
            reference_logp=reference_logp,
            proximal_logp=proximal_logp,
            cu_seqlens=cu_seqlens,
        ),
        grad,
        name,
        numbers,
        choose(impl, TRITON_DTYPES, logits),
    )
    if grad is not None:
        if inplace:
            torch.autograd.graph.increment_version(logits)
        value = with_gradients(value, logits, logits.new_empty(0), grad, grad.new_empty(0))
    return PolicyLoss(
        loss=value,
        logp=logp,
        entropy=entropy,
        metrics=unpacked_metrics(metrics),
    )


def _check_logits(logits: Tensor, targets: Tensor) -> None:
    if logits.ndim != 2 or not logits.is_floating_point() or not logits.is_contiguous():
        raise ValueError(
            f"logits are {logits.dtype} {tuple(logits.shape)}: they must be floating, contiguous "
            "[N, V]"
        )
    check_targets(targets, *logits.shape)
