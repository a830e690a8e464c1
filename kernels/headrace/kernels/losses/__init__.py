"""Row mathematics: the one place where policy losses are defined."""

from headrace.kernels.losses.config import KlKind, LossConfig
from headrace.kernels.losses.metrics import policy_metrics
from headrace.kernels.losses.rows import RowLoss, row_loss

__all__ = ["KlKind", "LossConfig", "RowLoss", "policy_metrics", "row_loss"]
