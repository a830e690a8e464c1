"""Row losses of many rows: slopes for the gradient, and sums for loss and metrics."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from headrace.kernels.device.row_math import (
    LIMIT,
    Row,
    as_constexprs,
    bounded_exp,
    clamp,
    exp_tail,
    row_terms,
)
from headrace.kernels.losses.config import Choices, LossConfig
from headrace.kernels.losses.inputs import RowInputs
from headrace.kernels.losses.metrics import RowSums

BLOCK = 256
WIDTH = tl.constexpr(16)
"""Places for one program's sums: a power of 2, as a tile must be."""
SUMS = tl.constexpr(len(RowSums._fields))


class RowPointers(NamedTuple):
    """Where the kernels of this file find the rows."""

    logp: Any
    entropy: Any
    columns: Any
    """[4, N]: see `headrace.kernels.losses.inputs.RowColumns`."""
    reference: Any
    old: Any
    sequence: Any


@triton.jit
def _load_column(columns_ptr, rows, inside, total, which: tl.constexpr):
    return tl.load(columns_ptr + which * total + rows, mask=inside, other=0.0)


@triton.jit
def _load_rows(pointers, rows, inside, total, choices):
    logp = tl.load(pointers.logp + rows, mask=inside, other=0.0)
    entropy = tl.load(pointers.entropy + rows, mask=inside, other=0.0)
    behaviour = _load_column(pointers.columns, rows, inside, total, 1)
    old = behaviour
    if choices.proximal:
        old = tl.load(pointers.old + rows, mask=inside, other=0.0)
    reference = logp
    if choices.kl != "none":
        reference = tl.load(pointers.reference + rows, mask=inside, other=0.0)
    sequence = logp
    if choices.kind == "gspo":
        sequence = tl.load(pointers.sequence + rows, mask=inside, other=0.0)
    return Row(
        logp=logp,
        entropy=entropy,
        advantage=_load_column(pointers.columns, rows, inside, total, 0),
        behaviour=behaviour,
        old=old,
        reference=reference,
        sequence=sequence,
    )


@triton.jit
def slopes_kernel(
    index_ptr,
    pointers,
    slope_ptr,
    outer_ptr,
    row_count,
    total,
    constants,
    choices,
    BLOCK: tl.constexpr,
):
    """dl/dlogp and token weight / temperature of the rows at `index`."""
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    present = places < row_count
    rows = tl.load(index_ptr + places, mask=present, other=0)
    weight = _load_column(pointers.columns, rows, present, total, 2)
    inside = present & (weight != 0)
    terms = row_terms(_load_rows(pointers, rows, inside, total, choices), constants, choices)
    inverse = _load_column(pointers.columns, rows, present, total, 3)
    tl.store(slope_ptr + places, tl.where(inside, terms.grad, 0.0), mask=present)
    tl.store(outer_ptr + places, tl.where(inside, weight * inverse, 0.0), mask=present)


@triton.jit
def _masked_sum(values, inside):
    return tl.sum(tl.where(inside, values, 0.0), 0)


@triton.jit
def _share(condition, inside):
    return _masked_sum(tl.where(condition, 1.0, 0.0), inside)


@triton.jit
def sums_kernel(pointers, sums_ptr, total, constants, choices, BLOCK: tl.constexpr):
    """`RowSums` of each block of rows, in the order of its fields: [programs, WIDTH]."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    weight = _load_column(pointers.columns, rows, rows < total, total, 2)
    inside = (rows < total) & (weight != 0)
    row = _load_rows(pointers, rows, inside, total, choices)
    terms = row_terms(row, constants, choices)
    gap = clamp(row.logp - row.behaviour, -LIMIT, LIMIT)
    ratio = tl.where(inside, bounded_exp(gap), 0.0)
    sums = RowSums(
        loss=_masked_sum(weight * terms.loss, inside),
        active=_masked_sum(tl.zeros_like(weight) + 1.0, inside),
        clipped=_share(terms.clipped, inside),
        dual_clipped=_share(terms.dual_clipped, inside),
        kl_k1=_masked_sum(-gap, inside),
        kl_k3=_masked_sum(exp_tail(gap), inside),
        ratio=tl.sum(ratio, 0),
        ratio_squared=tl.sum(ratio * ratio, 0),
        entropy=_masked_sum(row.entropy, inside),
        reference_kl=_masked_sum(terms.reference_kl, inside),
        importance=_masked_sum(terms.importance, inside),
        importance_zero=_share(terms.importance == 0, inside),
        max_ratio=tl.max(ratio, 0),
    )
    places = tl.arange(0, WIDTH)
    packed = tl.zeros([WIDTH], tl.float32)
    for place in tl.static_range(SUMS):
        packed = tl.where(places == place, sums[place], packed)
    tl.store(sums_ptr + tl.program_id(0) * WIDTH + places, packed)


def row_slopes(
    index: Tensor,
    logp: Tensor,
    entropy: Tensor,
    rows: RowInputs,
    sequence: Tensor | None,
    loss: LossConfig,
) -> tuple[Tensor, Tensor]:
    """dl/dlogp and token weight / temperature of the rows at `index`, [M] each.

    `logp`, `entropy` and `sequence` are [N].
    """
    count = index.shape[0]
    slope = torch.empty(count, dtype=torch.float32, device=index.device)
    outer = torch.empty_like(slope)
    if count:
        slopes_kernel[(triton.cdiv(count, BLOCK),)](
            index,
            _pointers(logp, entropy, rows, sequence),
            slope,
            outer,
            count,
            logp.shape[0],
            loss.constants,
            choices_of(loss, rows),
            BLOCK=BLOCK,
        )
    return slope, outer


def row_sums(
    logp: Tensor, entropy: Tensor, rows: RowInputs, sequence: Tensor | None, loss: LossConfig
) -> RowSums:
    """Over all rows of non-zero weight."""
    total = logp.shape[0]
    programs = triton.cdiv(total, BLOCK)
    blocks = torch.zeros((max(programs, 1), WIDTH.value), dtype=torch.float32, device=logp.device)
    if programs:
        sums_kernel[(programs,)](
            _pointers(logp, entropy, rows, sequence),
            blocks,
            total,
            loss.constants,
            choices_of(loss, rows),
            BLOCK=BLOCK,
        )
    blocks = blocks[:, : SUMS.value]
    sums = RowSums(*blocks.sum(0).unbind())
    largest = RowSums(*blocks.unbind(1)).max_ratio.max()
    # A result of its own: an operator must not give a view of what it keeps.
    return sums._replace(loss=sums.loss.clone(), max_ratio=largest)


def choices_of(loss: LossConfig, rows: RowInputs) -> Choices:
    """What is compiled into a kernel with row mathematics."""
    return as_constexprs(loss.choices(proximal=rows.proximal_logp is not None))


def _pointers(
    logp: Tensor, entropy: Tensor, rows: RowInputs, sequence: Tensor | None
) -> RowPointers:
    return RowPointers(
        logp=logp,
        entropy=entropy,
        columns=rows.columns,
        reference=rows.reference_logp,
        old=rows.proximal_logp,
        sequence=sequence,
    )
