"""What the losses on an LM head take: checks, dtypes, and the rows of a batch."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from headrace.kernels.losses.config import LossConfig


class RowColumns(NamedTuple):
    """The rows as an operator takes them, in the order of its parameters."""

    columns: Tensor
    """[4, N]: advantages, behaviour log-probabilities, token weights, 1/temperature."""
    reference_logp: Tensor | None
    proximal_logp: Tensor | None
    cu_seqlens: Tensor | None


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class RowInputs:
    """The rows within an operator: [N] in the compute dtype (targets int64)."""

    targets: Tensor
    columns: Tensor
    """[4, N], contiguous: see `RowColumns`."""
    reference_logp: Tensor | None
    proximal_logp: Tensor | None
    cu_seqlens: Tensor | None

    @property
    def advantages(self) -> Tensor:
        return self.columns[0]

    @property
    def behaviour_logp(self) -> Tensor:
        return self.columns[1]

    @property
    def token_weights(self) -> Tensor:
        return self.columns[2]

    @property
    def inverse_temperature(self) -> Tensor:
        return self.columns[3]

    @property
    def active(self) -> Tensor:
        """bool [N]: rows of non-zero weight."""
        return self.token_weights != 0

    @property
    def old_logp(self) -> Tensor:
        """Log-probabilities of the proximal policy: the behaviour policy's where none are given."""
        return self.behaviour_logp if self.proximal_logp is None else self.proximal_logp


def row_columns(
    like: Tensor,
    *,
    loss: LossConfig,
    advantages: Tensor,
    behaviour_logp: Tensor,
    token_weights: Tensor,
    temperature: float | Tensor,
    reference_logp: Tensor | None,
    proximal_logp: Tensor | None,
    cu_seqlens: Tensor | None,
) -> RowColumns:
    """Check the columns of the rows of `like` [N, ...], and cast them to its compute dtype."""
    check_given(loss, reference_logp, proximal_logp, cu_seqlens)

    def column(name: str, values: Tensor) -> Tensor:
        check_rows(name, values, like.shape[0])
        return values.detach().to(compute_dtype(like))

    def optional(name: str, values: Tensor | None) -> Tensor | None:
        return None if values is None else column(name, values)

    columns = torch.stack(
        (
            column("advantages", advantages),
            column("behaviour_logp", behaviour_logp),
            column("token_weights", token_weights),
            inverse_temperature(temperature, like),
        )
    )
    return RowColumns(
        columns=columns,
        reference_logp=optional("reference_logp", reference_logp),
        proximal_logp=optional("proximal_logp", proximal_logp),
        cu_seqlens=cu_seqlens,
    )


def check_given(
    loss: LossConfig,
    reference_logp: Tensor | None,
    proximal_logp: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    """Refuse a configuration that needs what was not given."""
    if loss.kl_coef > 0.0 and reference_logp is None:
        raise ValueError("kl_coef is above 0: pass reference_logp, or set kl_coef to 0")
    if loss.correction != "none" and loss.kind != "reinforce" and proximal_logp is None:
        field = "tis_cap" if loss.correction == "tis" else "mis_bounds"
        raise ValueError(
            f"{field} with kind {loss.kind!r} needs proximal_logp: against the behaviour policy "
            f"the ratio is corrected already. Pass proximal_logp, or set {field} to None"
        )
    if cu_seqlens is not None and (cu_seqlens.ndim != 1 or cu_seqlens.is_floating_point()):
        raise ValueError(
            f"cu_seqlens is {cu_seqlens.dtype} {tuple(cu_seqlens.shape)}: it must be integers [S+1]"
        )
    if loss.needs_sequences and cu_seqlens is None:
        raise ValueError(f"kind {loss.kind!r} needs cu_seqlens, the bounds of its sequences")


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
