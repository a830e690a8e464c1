"""Policy-gradient loss on hidden states and LM head, with both gradients, without [N, V] logits."""

from headrace.kernels.linear_loss.interface import linear_policy_loss

__all__ = ["linear_policy_loss"]
