"""Host side of the LM head's matrix product and what its epilogue does."""

from typing import Any, Literal, NamedTuple

import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from headrace.kernels.device.glue import target_kernel
from headrace.kernels.device.linear import linear_kernel, strip_kernel
from headrace.kernels.device.tiles import Tile, tile_for
from headrace.kernels.implementation import interpreted

ROWS = 32 if interpreted() else 1
"""Rows of a program that goes along its rows, LANES columns at a time."""
LANES = 32 if interpreted() else 1024
FLAT = 32 if interpreted() else 128
"""Rows of a program that has one value of each."""
STRIP_BYTES = 1 << 14 if interpreted() else 32 << 20
"""Logits of a strip in fp32, small enough to stay in the cache between its two readers."""
ALIGNMENT = 64
"""Columns to which rows of exponents are padded, for the alignment that descriptors need."""

Mode = Literal["sums", "exponents", "gradient"]
"""What the epilogue does: see `headrace.kernels.device.linear`."""


class Block(NamedTuple):
    """A block of rows, gathered: all [M]."""

    hidden: Tensor
    """[M, H], contiguous."""
    targets: Tensor
    inverse: Tensor
    """1 / temperature."""
    places: Tensor
    """Where each row is among all."""


class Sums(NamedTuple):
    """Partial results [parts, M] of the rows' softmax."""

    target: Tensor
    """Logit / temperature of the rows' targets [M]."""
    peak: Tensor | None
    """Offset of each part, where the parts have offsets of their own."""
    sums: Tensor
    weighted: Tensor


class GradientTerms(NamedTuple):
    """What makes the gradient of a row's logits of its probabilities p, [M] each."""

    factor: Tensor
    bonus: Tensor
    """p · (factor + bonus · log p) is the gradient of every logit but the target's."""
    at_target: Tensor


def softmax_sums(block: Block, weight: Tensor) -> Sums:
    """Sums of the rows' softmax over `weight` [V, H]; no logits are left behind."""
    sums = _new_sums(block, weight, peaks=True)
    _run("sums", block, weight, sums=sums)
    return sums


def exponents_and_sums(block: Block, weight: Tensor, offset: Tensor, exponents: Tensor) -> Sums:
    """Stores exp(logit - offset) [M, V], and gives its sums."""
    sums = _new_sums(block, weight, peaks=False)
    _run("exponents", block, weight, offset=offset, stored=exponents, sums=sums)
    return sums


def logit_gradients(
    block: Block, weight: Tensor, lse: Tensor, terms: GradientTerms, start: int, out: Tensor
) -> None:
    """Stores the gradient of the logits of a strip of the head, rows `start` on: [M, columns]."""
    _run("gradient", block, weight, offset=lse, terms=terms, stored=out)
    count, columns = out.shape
    target_kernel[(triton.cdiv(count, FLAT),)](
        out, block.targets, terms.at_target, count, start, columns, out.stride(0), BLOCK=FLAT
    )


def product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right in fp32."""
    if left.dtype == torch.float32:
        return left @ right
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out += left @ right, out in fp32."""
    if left.dtype == torch.float32 or not left.is_cuda:
        out.addmm_(left.float(), right.float())
    else:
        torch.addmm(out, left, right, out_dtype=torch.float32, out=out)


def _tile(block: Block, weight: Tensor) -> Tile | None:
    """The tile of the fused product; None where the library's product is used."""
    if _fits_descriptor(block.hidden) and _fits_descriptor(weight):
        return tile_for(weight.dtype, weight.shape[1], weight.device)
    return None


def _new_sums(block: Block, weight: Tensor, *, peaks: bool) -> Sums:
    count, device = block.hidden.shape[0], block.hidden.device
    tile = _tile(block, weight)
    if tile is None:
        parts = triton.cdiv(weight.shape[0], _strip_width(count))
    else:
        parts = tile.split * triton.cdiv(weight.shape[0], tile.columns)

    def empty() -> Tensor:
        return torch.empty((parts, count), dtype=torch.float32, device=device)

    # A target that no tile holds lies outside the vocabulary: its row is NaN.
    target = torch.full((count,), torch.nan, dtype=torch.float32, device=device)
    return Sums(target, empty() if peaks else None, empty(), empty())


def _run(
    mode: Mode,
    block: Block,
    weight: Tensor,
    *,
    offset: Tensor | None = None,
    terms: GradientTerms | None = None,
    stored: Tensor | None = None,
    sums: Sums | None = None,
) -> None:
    """The product of `headrace.kernels.device.linear`, fused or by strips."""
    columns = (
        block.inverse,
        offset,
        None if terms is None else terms.factor,
        None if terms is None else terms.bonus,
        None if sums is None else block.targets,
        *(sums or (None,) * len(Sums._fields)),
    )
    tile = _tile(block, weight)
    if tile is None:
        _strips(mode, block, weight, stored, columns)
    else:
        _fused(mode, tile, block, weight, stored, columns)


def _fused(
    mode: Mode,
    tile: Tile,
    block: Block,
    weight: Tensor,
    stored: Tensor | None,
    columns: tuple[Tensor | None, ...],
) -> None:
    count, depth = block.hidden.shape
    programs = triton.cdiv(count, tile.rows) * triton.cdiv(weight.shape[0], tile.columns)
    store = None
    if stored is not None:
        store = TensorDescriptor.from_tensor(stored, [tile.rows, tile.columns // tile.split])
    linear_kernel[(programs,)](
        TensorDescriptor.from_tensor(block.hidden, [tile.rows, tile.depth]),
        TensorDescriptor.from_tensor(weight, [tile.columns, tile.depth]),
        store,
        *columns,
        count,
        weight.shape[0],
        depth,
        BLOCK_M=tile.rows,
        BLOCK_N=tile.columns,
        BLOCK_K=tile.depth,
        SPLIT=tile.split,
        MODE=mode,
        UPCAST=interpreted(),
        num_warps=tile.warps,
        num_stages=tile.stages,
    )


def _strips(
    mode: Mode,
    block: Block,
    weight: Tensor,
    stored: Tensor | None,
    columns: tuple[Tensor | None, ...],
) -> None:
    """The library's matrix product, a strip of the vocabulary at a time, into fp32 logits."""
    count, vocabulary = block.hidden.shape[0], weight.shape[0]
    width = _strip_width(count)
    for part, start in enumerate(range(0, vocabulary, width)):
        strip = weight[start : start + width]
        logits = product(block.hidden, strip.t())
        store = None if stored is None else stored[:, start : start + width]
        strip_kernel[row_programs(count)](
            logits,
            store,
            *columns,
            count,
            start,
            strip.shape[0],
            logits.stride(0),
            0 if store is None else store.stride(0),
            part,
            ROWS=ROWS,
            BLOCK=LANES,
            MODE=mode,
        )


def _strip_width(rows: int) -> int:
    """Columns of fp32 logits that stay in the cache."""
    return max(ALIGNMENT, STRIP_BYTES // (4 * rows) // ALIGNMENT * ALIGNMENT)


def _fits_descriptor(matrix: Tensor) -> bool:
    """Whether rows start at multiples of 16 bytes, which the bulk copy engine needs."""
    size = matrix.element_size()
    return (
        matrix.stride(1) == 1
        and matrix.stride(0) * size % 16 == 0
        and (matrix.data_ptr() % 16 == 0)
    )


def row_programs(count: int) -> Any:
    return (triton.cdiv(count, ROWS),)
