"""Reinforcement-learning losses on an LM head. Needs torch alone; Triton makes it fast."""

from headrace.kernels.advantages import masked_whiten, reinforce_pp_advantages
from headrace.kernels.linear_loss import linear_policy_loss
from headrace.kernels.logits_loss import policy_loss
from headrace.kernels.logp import linear_logp
from headrace.kernels.losses import (
    KlKind,
    LogProbs,
    LossConfig,
    PolicyLoss,
    RowLoss,
    aggregation_weights,
    policy_metrics,
    row_loss,
)
from headrace.kernels.scan import (
    discounted_returns,
    gae,
    segment_means,
    segment_sums,
    turn_gae,
)

__all__ = [
    "KlKind",
    "LogProbs",
    "LossConfig",
    "PolicyLoss",
    "RowLoss",
    "aggregation_weights",
    "discounted_returns",
    "gae",
    "linear_logp",
    "linear_policy_loss",
    "masked_whiten",
    "policy_loss",
    "policy_metrics",
    "reinforce_pp_advantages",
    "row_loss",
    "segment_means",
    "segment_sums",
    "turn_gae",
]
