"""Reinforcement-learning losses on an LM head. Needs torch alone."""

from headrace.kernels.logp import LogProbs, linear_logp
from headrace.kernels.losses import LossConfig, RowLoss, policy_metrics, row_loss
from headrace.kernels.policy_loss import PolicyLoss, linear_policy_loss

__all__ = [
    "LogProbs",
    "LossConfig",
    "PolicyLoss",
    "RowLoss",
    "linear_logp",
    "linear_policy_loss",
    "policy_metrics",
    "row_loss",
]
