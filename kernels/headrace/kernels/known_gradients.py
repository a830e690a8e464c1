"""Ties a value to gradients that were formed with it.

Gradients of an LM head are large, so they are handed out as they are and never copied: the upstream
gradient is multiplied into them in place, and where it is 1 they are not even read.
"""

import importlib.util
from typing import Any

import torch
from torch import Tensor

from headrace.kernels.implementation import on_device
from headrace.kernels.operators import fake, operator


@operator("with_gradients")
def with_gradients(
    value: Tensor, first: Tensor, second: Tensor, grad_first: Tensor, grad_second: Tensor
) -> Tensor:
    """`value`, whose gradient with respect to `first` and `second` is already known.

    An empty gradient stands for none. They are handed out once: a second backward pass raises
    RuntimeError.
    """
    return value.clone()


@fake("with_gradients")
def _(
    value: Tensor, first: Tensor, second: Tensor, grad_first: Tensor, grad_second: Tensor
) -> Tensor:
    return torch.empty_like(value)


@operator("scale_gradient", mutates=("grad",))
def scale_gradient(grad: Tensor, upstream: Tensor) -> None:
    """grad *= upstream (0-d), in place and without a wait for the device."""
    if grad.is_cuda and importlib.util.find_spec("triton"):
        from headrace.kernels.device.scale import scale_in_place

        with on_device(grad):
            scale_in_place(grad, upstream)
    elif grad.is_cuda or upstream != 1:
        grad.mul_(upstream)


@fake("scale_gradient")
def _(grad: Tensor, upstream: Tensor) -> None:
    return None


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[3:])
    ctx.handed_out = False


def _hand_out(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    if ctx.handed_out:
        raise RuntimeError(
            "this loss was differentiated before, and its gradients are handed out once: take all "
            "gradients in one backward pass, or call the loss function again"
        )
    ctx.handed_out = True
    grads: list[Tensor | None] = []
    for grad in ctx.saved_tensors:
        if grad.numel():
            scale_gradient(grad, upstream)
        grads.append(grad if grad.numel() else None)
    return (None, *grads, None, None)


torch.library.register_autograd("headrace::with_gradients", _hand_out, setup_context=_keep)
