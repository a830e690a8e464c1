"""`linear_logp`."""

import torch
from torch import Tensor

from headrace.kernels.implementation import Impl, check_impl, choose
from headrace.kernels.logp.operators import linear_logp_operator
from headrace.kernels.losses.inputs import check_linear, inverse_temperature
from headrace.kernels.losses.result import LogProbs

TRITON_DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def linear_logp(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    impl: Impl = "auto",
    chunk_rows: int | None = None,
) -> LogProbs:
    """Log-probability, log-sum-exp and entropy of softmax(hidden @ weightᵀ / temperature).

    hidden [N, H], weight [V, H] (fp32, bf16 or fp16), targets [N] int64, temperature a number or
    [N]. Forward only; never holds more than chunk_rows · V logits. Raises ValueError on shapes,
    dtypes or targets that do not fit.
    """
    check_linear(hidden, weight, targets)
    check_impl(impl)
    if chunk_rows is not None and chunk_rows < 1:
        raise ValueError(f"chunk_rows is {chunk_rows}: it must be at least 1, or None")
    logp, lse, entropy = linear_logp_operator(
        hidden.detach(),
        weight.detach(),
        targets,
        inverse_temperature(temperature, hidden),
        chunk_rows,
        choose(impl, TRITON_DTYPES, hidden, weight),
    )
    return LogProbs(logp=logp, lse=lse, entropy=entropy)
