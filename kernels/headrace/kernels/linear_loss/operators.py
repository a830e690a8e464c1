"""The custom operators behind `linear_policy_loss`.

One forms value and gradients together and is opaque to autograd and the compiler; a second, which
holds no work, ties the value to its inputs. So nothing is traced into, a main gradient may be
written in the forward pass, and `torch.compile(fullgraph=True)` sees two plain nodes.
"""

from typing import Any

import torch
from torch import Tensor

from headrace.kernels.implementation import on_device
from headrace.kernels.linear_loss.plan import Plan
from headrace.kernels.linear_loss.rows import RowInputs
from headrace.kernels.logp.inputs import compute_dtype
from headrace.kernels.losses.config import decode
from headrace.kernels.losses.metrics import METRICS
from headrace.kernels.operators import fake, operator


@operator("linear_policy_gradients", mutates=("main_grad",))
def linear_policy_gradients(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    columns: Tensor,
    reference_logp: Tensor | None,
    proximal_logp: Tensor | None,
    cu_seqlens: Tensor | None,
    main_grad: Tensor | None,
    loss_name: str,
    loss_numbers: list[float],
    want_hidden: bool,
    want_weight: bool,
    chunk_rows: int | None,
    memory_budget: int,
    active_rows: int | None,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Loss, logp, entropy, metrics, and both gradients (empty where not wanted).

    `columns` [4, N]: advantages, behaviour log-probabilities, token weights, 1/temperature.
    """
    rows = RowInputs(
        targets=targets,
        advantages=columns[0],
        behaviour_logp=columns[1],
        token_weights=columns[2],
        inverse_temperature=columns[3],
        reference_logp=reference_logp,
        proximal_logp=proximal_logp,
        cu_seqlens=cu_seqlens,
    )
    plan = Plan(
        want_hidden=want_hidden,
        want_weight=want_weight,
        chunk_rows=chunk_rows,
        memory_budget=memory_budget,
        active_rows=active_rows,
    )
    with on_device(hidden):
        out = _implementation(impl)(
            hidden, weight, rows, decode(loss_name, loss_numbers), plan, main_grad
        )
    nothing = hidden.new_empty(0)
    return (
        out.loss,
        out.logp,
        out.entropy,
        out.metrics,
        nothing if out.grad_hidden is None else out.grad_hidden,
        nothing.clone() if out.grad_weight is None else out.grad_weight,
    )


@fake("linear_policy_gradients")
def _(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    columns: Tensor,
    reference_logp: Tensor | None,
    proximal_logp: Tensor | None,
    cu_seqlens: Tensor | None,
    main_grad: Tensor | None,
    loss_name: str,
    loss_numbers: list[float],
    want_hidden: bool,
    want_weight: bool,
    chunk_rows: int | None,
    memory_budget: int,
    active_rows: int | None,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    dtype, rows = compute_dtype(hidden), hidden.shape[0]
    return (
        hidden.new_empty((), dtype=dtype),
        hidden.new_empty((rows,), dtype=dtype),
        hidden.new_empty((rows,), dtype=dtype),
        hidden.new_empty((len(METRICS),), dtype=dtype),
        hidden.new_empty(hidden.shape if want_hidden else (0,)),
        weight.new_empty(weight.shape)
        if want_weight and main_grad is None
        else hidden.new_empty((0,)),
    )


@operator("with_gradients")
def with_gradients(
    value: Tensor, first: Tensor, second: Tensor, grad_first: Tensor, grad_second: Tensor
) -> Tensor:
    """`value`, whose gradient with respect to `first` and `second` is already known.

    An empty gradient stands for none.
    """
    return value.clone()


@fake("with_gradients")
def _(
    value: Tensor, first: Tensor, second: Tensor, grad_first: Tensor, grad_second: Tensor
) -> Tensor:
    return torch.empty_like(value)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[3:])


def _scale(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    grads = (saved * upstream if saved.numel() else None for saved in ctx.saved_tensors)
    return (None, *grads, None, None)


torch.library.register_autograd("headrace::with_gradients", _scale, setup_context=_keep)


def _implementation(impl: str) -> Any:
    if impl == "torch":
        from headrace.kernels.linear_loss.torch import gradients_torch

        return gradients_torch
    from headrace.kernels.linear_loss.triton import gradients_triton

    return gradients_triton
