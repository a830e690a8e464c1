"""What every function on an LM head takes and gives: its checks, its dtypes, its result."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class LogProbs:
    """Of each row, [N], fp32 (float64 for float64 inputs), in nats."""

    logp: Tensor
    lse: Tensor
    """Log of the sum of exp(logits / temperature)."""
    entropy: Tensor


def check_linear(hidden: Tensor, weight: Tensor, targets: Tensor) -> None:
    """Refuse shapes, dtypes and targets that do not fit each other."""
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)} and weight {tuple(weight.shape)} must be [N, H], [V, H]"
        )
    if not (hidden.is_floating_point() and weight.is_floating_point()):
        raise ValueError(f"hidden is {hidden.dtype}, weight {weight.dtype}: both must be floating")
    check_targets(targets, hidden.shape[0], weight.shape[0])


def check_targets(targets: Tensor, rows: int, vocabulary: int) -> None:
    """Refuse targets that are not int64 [N] within the vocabulary."""
    check_rows("targets", targets, rows)
    if targets.dtype != torch.int64:
        raise ValueError(f"targets are {targets.dtype}: they must be int64")
    # On an accelerator the check would stop the host; such rows become NaN or trap there.
    if torch.compiler.is_compiling():
        return
    if targets.device.type == "cpu" and targets.numel():
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= vocabulary:
            raise ValueError(f"targets span {low}..{high}, vocabulary is {vocabulary} tokens")


def check_rows(name: str, values: Tensor, rows: int) -> None:
    """Refuse a per-row tensor that is not [N]."""
    if values.shape != (rows,):
        raise ValueError(f"{name} has shape {tuple(values.shape)}: it must be [N] = [{rows}]")


def compute_dtype(hidden: Tensor) -> torch.dtype:
    """fp32, or float64 where the inputs are float64."""
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def inverse_temperature(temperature: float | Tensor, hidden: Tensor) -> Tensor:
    """1/temperature as [N] in the compute dtype."""
    rows = hidden.shape[0]
    if isinstance(temperature, Tensor):
        check_rows("temperature", temperature, rows)
        return temperature.detach().to(compute_dtype(hidden)).reciprocal()
    if not temperature > 0.0:
        raise ValueError(f"temperature is {temperature}: it must be above 0")
    return torch.full((rows,), 1.0 / temperature, dtype=compute_dtype(hidden), device=hidden.device)
