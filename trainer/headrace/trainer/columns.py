"""The columns of a pack's sampled tokens, as the loss takes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from headrace.trainer.batch import Batch, Pack, TrainingRow


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Tokens:
    """Columns of sampled tokens [M]."""

    targets: Tensor
    temperature: Tensor
    behaviour_logp: Tensor
    versions: Tensor
    sampled_by_one: Tensor
    """Whether one version sampled the token's whole row."""
    calls: Tensor
    """[rows], how many tokens each call has: they follow each other."""

    @property
    def bounds(self) -> Tensor:
        """Of the calls, [rows + 1]."""
        return torch.nn.functional.pad(self.calls.cumsum(0), (1, 0))


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Scores:
    """What a policy makes of them, [M]."""

    logp: Tensor
    entropy: Tensor
    reference_logp: Tensor | None


_T = TypeVar("_T", Tokens, Scores)


def tokens_of(pack: Pack, batch: Batch, device: torch.device) -> Tokens:
    """The sampled tokens of a pack, in its order."""
    rows = [batch.rows[index] for index in pack.rows]

    def column(of: Callable[[TrainingRow], ArrayLike], dtype: torch.dtype) -> Tensor:
        parts = [np.broadcast_to(of(row), row.sampled_ids.shape) for row in rows]
        return torch.from_numpy(np.concatenate(parts)).to(device, dtype)

    return Tokens(
        targets=column(lambda row: row.sampled_ids.astype(np.int64), torch.int64),
        temperature=column(lambda row: row.temperature, torch.float32),
        behaviour_logp=column(lambda row: row.behaviour_logp, torch.float32),
        versions=column(lambda row: row.versions, torch.int64),
        sampled_by_one=column(lambda row: np.ptp(row.versions) == 0, torch.bool),
        calls=torch.tensor([row.sampled_ids.size for row in rows], device=device),
    )


def of_pack(pack: Pack, parts: Sequence[Tensor], device: torch.device) -> Tensor:
    """What is given row by row, in the order of a pack's sampled tokens."""
    return torch.cat([parts[index] for index in pack.rows]).to(device)


def by_row(batch: Batch, columns: Sequence[Tensor], *, absent: float = 0.0) -> list[Tensor]:
    """What is given pack by pack, row by row, on the CPU; `absent` for rows that are in no pack."""
    found: dict[int, Tensor] = {}
    for pack, column in zip(batch.packs, columns, strict=True):
        sizes = [batch.rows[index].sampled_ids.size for index in pack.rows]
        found.update(zip(pack.rows, torch.split(column.cpu(), sizes), strict=True))
    return [
        found[index] if index in found else torch.full((row.sampled_ids.size,), absent)
        for index, row in enumerate(batch.rows)
    ]


def joined(kind: type[_T], parts: Sequence[_T]) -> _T:
    """The columns of several packs, one after the other."""
    columns: dict[str, Any] = {}
    for field in fields(kind):
        values = [getattr(part, field.name) for part in parts]
        columns[field.name] = None if values[0] is None else torch.cat(values)
    return kind(**columns)
