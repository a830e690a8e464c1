"""A gradient times the upstream gradient, in place."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

import triton
import triton.language as tl
from torch import Tensor

from headrace.kernels.implementation import interpreted

BLOCK = 64 if interpreted() else 2048
PROGRAMS = 2 if interpreted() else 1056
"""Eight for each multiprocessor of an H100: few enough to cost nothing where they end at once."""


@triton.jit
def times_kernel(grad_ptr, upstream_ptr, count, steps, BLOCK: tl.constexpr):
    """Programs end at once where the upstream gradient is 1, as it is unless a loss was scaled."""
    upstream = tl.load(upstream_ptr).to(tl.float32)
    if upstream != 1.0:
        places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        for _ in range(0, steps):
            inside = places < count
            grad = tl.load(grad_ptr + places, mask=inside).to(tl.float32) * upstream
            tl.store(grad_ptr + places, grad.to(grad_ptr.dtype.element_ty), mask=inside)
            places += tl.num_programs(0) * BLOCK


def scale_in_place(grad: Tensor, upstream: Tensor) -> None:
    """grad *= upstream; `grad` is contiguous, `upstream` 0-d."""
    count = grad.numel()
    blocks = triton.cdiv(count, BLOCK)
    programs = min(blocks, PROGRAMS)
    steps = triton.cdiv(blocks, programs)
    times_kernel[(programs,)](grad, upstream, count, steps, BLOCK=BLOCK)
