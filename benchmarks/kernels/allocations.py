"""Counts the memory that a function holds, without memory: tensors have shapes and no contents.

The host's own code runs as on a Hopper GPU, at any size: its kernels are not launched, and every
storage that it makes is counted until it dies, as the allocator of a device would (in blocks of 512
bytes). Not counted: what libraries and kernels hold for themselves within a call.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from headrace.kernels.device import product, tiles
from headrace.kernels.linear_loss import interface, operators
from headrace.kernels.linear_loss import triton as one_pass
from headrace.kernels.linear_loss.selection import Selection
from headrace.kernels.losses.inputs import RowInputs

BLOCK = 512


class Held(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Bytes held now and at most by storages made within the context; `given` ones are free."""

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.now: int = 0
        self.peak: int = 0
        self._bytes = {tensor.untyped_storage()._cdata: 0 for tensor in given}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in ASKING:
            out = _answer(func, args[0])
        else:
            out = func(*_without_masks(func, args), **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._bytes:
            self._bytes[key] = -(-storage.nbytes() // BLOCK) * BLOCK
            weakref.finalize(storage, self._drop, key)
            self.now += self._bytes[key]
            self.peak = max(self.peak, self.now)

    def _drop(self, key: int) -> None:
        self.now -= self._bytes.pop(key)


ASKING = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)

CHOOSING = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
)


def _answer(func: Any, about: Tensor) -> Any:
    """What the contents would say of a dense batch: nothing is wrong, every row counts."""
    if func is torch.ops.aten.nonzero.default:
        return torch.ones(about.numel(), about.ndim, dtype=torch.int64)
    return False if about.dtype == torch.bool else 1


def _without_masks(func: Any, args: Any) -> Any:
    """Rows chosen by a mask are all rows."""
    if func not in CHOOSING:
        return args
    tensor, chosen, *rest = args
    every = [
        torch.arange(part.shape[0]) if part is not None and part.dtype == torch.bool else part
        for part in chosen
    ]
    return (tensor, every, *rest)


def peak_bytes(make: Callable[[], tuple[Callable[[], object], Iterable[Tensor]]]) -> int:
    """Most bytes that a function holds beyond the tensors it is given.

    `make` gives both: it is called where new tensors have no contents.
    """
    with FakeTensorMode(), without_launches(), torch.compiler.set_stance("force_eager"):
        function, given = make()
        with Held(given) as held:
            kept = function()
            del kept
    most: int = held.peak
    return most


@contextmanager
def without_launches() -> Iterator[None]:
    """Ours as on a Hopper GPU where every row learns; Triton kernels (a peer's too) do nothing."""
    from triton.runtime.autotuner import Autotuner
    from triton.runtime.jit import JITFunction
    from triton.tools.tensor_descriptor import TensorDescriptor

    def every_row(rows: RowInputs, *_: object, **__: object) -> Selection:
        index = torch.arange(rows.targets.shape[0])
        return Selection(index, index[:0])

    def wide_product(left: Tensor, right: Tensor) -> Tensor:
        return left.new_empty((left.shape[0], right.shape[1]), dtype=torch.float32)

    def tile(_: torch.dtype, depth: int, __: torch.device) -> tiles.Tile:
        return tiles.hopper_tile(depth)

    replaced: tuple[tuple[Any, str, Any], ...] = (
        (JITFunction, "run", lambda *_, **__: None),
        (Autotuner, "run", lambda *_, **__: None),
        (Tensor, "is_cuda", property(lambda _: True)),
        (product, "tile_for", tile),
        (product, "_fits_descriptor", lambda _: True),
        (TensorDescriptor, "from_tensor", lambda *_: None),
        (one_pass, "select_rows", every_row),
        (one_pass, "product", wide_product),
        (one_pass, "add_product", lambda *_: None),
        (operators, "on_device", lambda _: nullcontext()),
        (interface, "check_linear", lambda *_: None),
        (interface, "choose", lambda *_: "triton"),
        (interface, "linear_policy_gradients", operators.form_gradients),
    )
    with ExitStack() as stack:
        for owner, name, instead in replaced:
            stack.enter_context(patch.object(owner, name, instead))
        yield
