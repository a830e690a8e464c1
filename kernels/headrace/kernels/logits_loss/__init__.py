"""Policy-gradient loss on logits that a model has already formed."""

from headrace.kernels.logits_loss.interface import policy_loss

__all__ = ["policy_loss"]
