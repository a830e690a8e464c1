"""Float64 reference: all logits at once, plain autograd. For tests and error figures only."""

import torch
from torch import Tensor

from headrace.kernels.logp.inputs import LogProbs


def linear_logp_reference(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float | Tensor = 1.0
) -> LogProbs:
    """As `linear_logp`, in float64 and differentiable."""
    logits = hidden.double() @ weight.double().t()
    if isinstance(temperature, Tensor):
        logits = logits / temperature.double()[:, None]
    else:
        logits = logits / temperature
    log_softmax = torch.log_softmax(logits, dim=-1)
    return LogProbs(
        logp=log_softmax.gather(1, targets[:, None])[:, 0],
        lse=torch.logsumexp(logits, dim=-1),
        entropy=-(log_softmax.exp() * log_softmax).sum(-1),
    )
