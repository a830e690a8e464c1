"""The custom operator behind `policy_loss`."""

import torch
from torch import Tensor

from headrace.kernels.implementation import on_device
from headrace.kernels.losses.config import decode
from headrace.kernels.losses.inputs import RowInputs, compute_dtype
from headrace.kernels.losses.metrics import METRICS
from headrace.kernels.operators import fake, operator


@operator("policy_gradients", mutates=("grad",))
def policy_gradients(
    logits: Tensor,
    targets: Tensor,
    columns: Tensor,
    reference_logp: Tensor | None,
    proximal_logp: Tensor | None,
    cu_seqlens: Tensor | None,
    grad: Tensor | None,
    loss_name: str,
    loss_numbers: list[float],
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, logp, entropy, metrics; the gradient goes to `grad` (it may be the logits).

    `columns` to `cu_seqlens` are the fields of `RowColumns`.
    """
    rows = RowInputs(
        targets=targets,
        columns=columns.contiguous(),
        reference_logp=reference_logp,
        proximal_logp=proximal_logp,
        cu_seqlens=cu_seqlens,
    )
    loss = decode(loss_name, loss_numbers)
    if impl == "torch":
        from headrace.kernels.logits_loss.torch import policy_gradients_torch

        return policy_gradients_torch(logits, rows, loss, grad)
    from headrace.kernels.logits_loss.triton import policy_gradients_triton

    with on_device(logits):
        return policy_gradients_triton(logits, rows, loss, grad)


@fake("policy_gradients")
def _(
    logits: Tensor,
    targets: Tensor,
    columns: Tensor,
    reference_logp: Tensor | None,
    proximal_logp: Tensor | None,
    cu_seqlens: Tensor | None,
    grad: Tensor | None,
    loss_name: str,
    loss_numbers: list[float],
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype = compute_dtype(logits)
    first, second = (torch.empty_like(targets, dtype=dtype) for _ in range(2))
    return (
        logits.new_empty((), dtype=dtype),
        first,
        second,
        logits.new_empty((len(METRICS),), dtype=dtype),
    )
