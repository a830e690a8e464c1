"""Which implementation runs: Triton kernels on a GPU, plain torch elsewhere."""

import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import Tensor

Impl = Literal["auto", "triton", "torch"]


def check_impl(impl: str) -> None:
    if impl not in get_args(Impl):
        raise ValueError(f"impl {impl!r} is unknown: use one of {get_args(Impl)}")


def choose(
    impl: Impl, dtypes: tuple[torch.dtype, ...], tensor: Tensor, *others: Tensor
) -> Literal["triton", "torch"]:
    """`auto` is `triton` where the tensors are on a CUDA device and all of one of the dtypes.

    Raises ValueError where `triton` was asked for and cannot run.
    """
    if impl == "torch":
        return "torch"
    alike = all(other.dtype == tensor.dtype for other in others)
    if impl == "auto":
        fits = tensor.is_cuda and tensor.dtype in dtypes and alike
        return "triton" if fits and importlib.util.find_spec("triton") else "torch"
    if tensor.dtype not in dtypes:
        names = ", ".join(str(dtype) for dtype in dtypes)
        raise ValueError(f"impl 'triton' takes {names}, not {tensor.dtype}: use 'auto' or 'torch'")
    if not alike:
        found = ", ".join(str(part.dtype) for part in (tensor, *others))
        raise ValueError(f"impl 'triton' takes tensors of one dtype, not {found}: cast one of them")
    if not (tensor.is_cuda or interpreted()):
        raise ValueError(
            f"impl 'triton' needs a CUDA device, the tensors are on {tensor.device}: use 'auto'"
        )
    return "triton"


def interpreted() -> bool:
    """Whether Triton runs in its interpreter, on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def on_device(tensor: Tensor) -> AbstractContextManager[object]:
    """Makes the tensor's GPU the current one, where Triton launches."""
    if not tensor.is_cuda:
        return nullcontext()
    device: AbstractContextManager[object] = torch.cuda.device(tensor.device)
    return device
