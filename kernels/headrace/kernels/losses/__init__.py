"""Row mathematics: the one place where policy losses are defined, and what the operations share.

A row is one sampled token, and what belongs to it: the hidden state (or logits) that predicts it,
its log-probability, advantage, weight. [N] is all rows of a batch, sequence after sequence. (In
`headrace.trainer` a row is a call, with all its sampled tokens.)

A loss is defined in `rows` (torch), again in `headrace.kernels.device.row_math` (Triton), and in
`reference` (float64) as its paper writes it. Constants go by name, as one record
(`config.Constants`), and metrics are made of the same sums whoever forms them (`metrics.RowSums`).
Nothing here needs Triton.
"""

from headrace.kernels.losses.aggregation import aggregation_weights
from headrace.kernels.losses.config import KlKind, LossConfig
from headrace.kernels.losses.metrics import policy_metrics
from headrace.kernels.losses.result import LogProbs, PolicyLoss
from headrace.kernels.losses.rows import RowLoss, row_loss

__all__ = [
    "KlKind",
    "LogProbs",
    "LossConfig",
    "PolicyLoss",
    "RowLoss",
    "aggregation_weights",
    "policy_metrics",
    "row_loss",
]
