"""Log-probability, log-sum-exp and entropy of sampled tokens from hidden states and LM head."""

from headrace.kernels.logp.interface import linear_logp

__all__ = ["linear_logp"]
