"""What the functions on an LM head give."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class LogProbs:
    """Of each row, [N], fp32 (float64 for float64 inputs), in nats."""

    logp: Tensor
    lse: Tensor
    """Log of the sum of exp(logits / temperature)."""
    entropy: Tensor


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class PolicyLoss:
    """What `linear_policy_loss` and `policy_loss` return."""

    loss: Tensor
    """Scalar, Σ token_weight · row loss; autograd leads to hidden states and head, or to logits."""
    logp: Tensor
    """[N], rows of non-zero weight (zeros elsewhere), no gradient."""
    entropy: Tensor
    """[N], nats, rows of non-zero weight (zeros elsewhere), no gradient."""
    metrics: dict[str, Tensor]
    """0-d tensors over rows of non-zero weight: see `headrace.kernels.policy_metrics`."""
