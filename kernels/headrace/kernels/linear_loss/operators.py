"""The custom operator behind `linear_policy_loss`.

It forms value and gradients together and is opaque to autograd and the compiler; a second, which
holds no work, ties the value to its inputs (`headrace.kernels.known_gradients`). So nothing is
traced into, a main gradient may be written in the forward pass, and
`torch.compile(fullgraph=True)` sees two plain nodes.
"""

from typing import Any

from torch import Tensor

from headrace.kernels.implementation import on_device
from headrace.kernels.linear_loss.plan import Plan
from headrace.kernels.losses.config import decode
from headrace.kernels.losses.inputs import RowInputs, compute_dtype
from headrace.kernels.losses.metrics import METRICS
from headrace.kernels.operators import fake, operator


def form_gradients(
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

    `columns` to `cu_seqlens` are the fields of `RowColumns`.
    """
    rows = RowInputs(
        targets=targets,
        columns=columns.contiguous(),
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


linear_policy_gradients = operator("linear_policy_gradients", mutates=("main_grad",))(
    form_gradients
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


def _implementation(impl: str) -> Any:
    if impl == "torch":
        from headrace.kernels.linear_loss.torch import gradients_torch

        return gradients_torch
    from headrace.kernels.linear_loss.triton import gradients_triton

    return gradients_triton
