"""`linear_policy_loss`: the public signature, its checks, and the choice of implementation."""

import torch
from torch import Tensor

from headrace.kernels.implementation import Impl, check_impl, choose
from headrace.kernels.known_gradients import with_gradients
from headrace.kernels.linear_loss.operators import linear_policy_gradients
from headrace.kernels.losses.config import LossConfig
from headrace.kernels.losses.inputs import check_linear, compute_dtype, row_columns
from headrace.kernels.losses.metrics import unpacked_metrics
from headrace.kernels.losses.result import PolicyLoss

MEMORY_BUDGET = 3 << 29
"""Default bytes for exponents of the logits: 1.5 GiB, 5,000 rows of a vocabulary of 152k."""
TRITON_DTYPES = (torch.bfloat16, torch.float32)


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
    cu_seqlens: Tensor | None = None,
    main_grad: Tensor | None = None,
    impl: Impl = "auto",
    chunk_rows: int | None = None,
    memory_budget: int | None = None,
    active_rows: int | None = None,
) -> PolicyLoss:
    """Σ_n token_weights[n] · row_loss(log softmax(hidden @ weightᵀ / temperature)[n, targets[n]]).

    hidden [N, H] and weight [V, H] in fp32, bf16 or fp16, computed in fp32 (float64 in float64);
    targets [N] int64; all else [N]. `token_weights` hold the whole aggregation (mask, horizon,
    number of episodes). `gspo` needs `cu_seqlens` [S+1], the bounds of the packed sequences.
    Gradients are formed in the forward pass, so no [N, V] tensor exists, and the backward pass
    hands them out without a copy, once. Rows of zero weight cost nothing, rows of zero advantage
    (without KL or entropy bonus) cost a forward pass only. Deterministic. Raises ValueError on
    inputs that do not fit.

    `main_grad` [V, H] fp32: the head's gradient is added to it in the forward pass and no gradient
    of `weight` is given, so the loss must then be differentiated with an upstream gradient of 1.
    `memory_budget`: bytes that exponents of the logits may take (1.5 GiB): enough of it, or
    `chunk_rows`, gives the one-pass path; less gives the recomputing path.
    `active_rows`: a bound on the rows of non-zero weight; with it nothing stops the host (a bound
    that is too low makes the loss NaN).

    Example:
        >>> out = linear_policy_loss(hidden, head, ids, advantages=a, behaviour_logp=mu,
        ...                          token_weights=w, loss=LossConfig())  # doctest: +SKIP
        >>> out.loss.backward()  # doctest: +SKIP
    """
    check_linear(hidden, weight, targets)
    check_impl(impl)
    _check_limits(hidden, weight, main_grad, chunk_rows, memory_budget, active_rows)
    grad = torch.is_grad_enabled()
    name, numbers = loss.encode()
    value, logp, entropy, metrics, grad_hidden, grad_weight = linear_policy_gradients(
        hidden.detach(),
        weight.detach(),
        targets,
        *row_columns(
            hidden,
            loss=loss,
            advantages=advantages,
            behaviour_logp=behaviour_logp,
            token_weights=token_weights,
            temperature=temperature,
            reference_logp=reference_logp,
            proximal_logp=proximal_logp,
            cu_seqlens=cu_seqlens,
        ),
        main_grad,
        name,
        numbers,
        grad and hidden.requires_grad,
        grad and (weight.requires_grad or main_grad is not None),
        chunk_rows,
        MEMORY_BUDGET if memory_budget is None else memory_budget,
        active_rows,
        choose(impl, TRITON_DTYPES, hidden, weight),
    )
    if grad and (hidden.requires_grad or weight.requires_grad):
        value = with_gradients(value, hidden, weight, grad_hidden, grad_weight)
    return PolicyLoss(
        loss=value,
        logp=logp,
        entropy=entropy,
        metrics=unpacked_metrics(metrics),
    )


def _check_limits(
    hidden: Tensor,
    weight: Tensor,
    main_grad: Tensor | None,
    chunk_rows: int | None,
    memory_budget: int | None,
    active_rows: int | None,
) -> None:
    if chunk_rows is not None and chunk_rows < 1:
        raise ValueError(f"chunk_rows is {chunk_rows}: it must be at least 1, or None")
    if memory_budget is not None and memory_budget < 1:
        raise ValueError(f"memory_budget is {memory_budget}: it must be at least 1 byte, or None")
    if active_rows is not None and not 0 <= active_rows <= hidden.shape[0]:
        raise ValueError(f"active_rows is {active_rows}: it must lie in 0..N = {hidden.shape[0]}")
    if main_grad is None:
        return
    if main_grad.shape != weight.shape or main_grad.dtype != compute_dtype(hidden):
        raise ValueError(
            f"main_grad is {main_grad.dtype} {tuple(main_grad.shape)}: it must be "
            f"{compute_dtype(hidden)} {tuple(weight.shape)}, like the weight"
        )
