"""Hidden states of the tokens that predict the sampled ones."""

from typing import Any

import torch
from torch import Tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, sources: Tensor) -> Tensor:
        ctx.save_for_backward(sources)
        ctx.tokens = hidden.shape[0]
        return hidden.index_select(0, sources)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (sources,) = ctx.saved_tensors
        total = torch.zeros(ctx.tokens, grad.shape[1], dtype=torch.float32, device=grad.device)
        total.index_add_(0, sources, grad.float())
        return total.to(grad.dtype), None


def gather_rows(hidden: Tensor, sources: Tensor) -> Tensor:
    """hidden[sources], [L, H] to [M, H], in the type of the hidden states.

    A token that several rows share sums their gradients in fp32 and rounds the sum once.
    """
    out: Tensor = _Gather.apply(hidden, sources)  # type: ignore[no-untyped-call]  # torch's own
    return out
