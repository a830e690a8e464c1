"""Requests that are decoded together: their rows, and their keys and values."""

from collections.abc import Sequence

import torch
from torch import Tensor

from headrace.connectors.engines.transformers.memory import KeyValues
from headrace.connectors.engines.transformers.row import DecodeRow

# Columns that are allocated ahead, so that a decode step seldom copies the memory.
SPARE_COLUMNS = 64


class DecodeBatch:
    """Rows and their memory, aligned at the right: the next token of every row has one column.

    Columns in which a row has no token (it is shorter, or was prefilled beside longer ones) are
    False in `seen`.
    """

    def __init__(self, rows: list[DecodeRow], memory: KeyValues, seen: Tensor) -> None:
        """seen: bool [rows, memory.length]."""
        self.rows = rows
        self.memory = memory
        self.seen = seen

    def __len__(self) -> int:
        return len(self.rows)

    def next_tokens(self) -> Tensor:
        """int64 [rows, 1]: each row's last sampled token, which the next step feeds."""
        last = [[row.token_ids[-1]] for row in self.rows]
        return torch.tensor(last, device=self.seen.device)

    def next_positions(self) -> Tensor:
        """int64 [rows, 1]: how many tokens of the row the memory holds."""
        return self.seen.sum(1, keepdim=True)

    def reserve(self) -> None:
        """Make room for one more column."""
        if self.memory.length == self.memory.capacity:
            self.memory.data = _with_columns(self.memory.data, SPARE_COLUMNS)

    def commit(self) -> None:
        """Keep the column that a decode step wrote."""
        self.memory.commit(1)
        one = torch.ones(len(self.rows), 1, dtype=torch.bool, device=self.seen.device)
        self.seen = torch.cat([self.seen, one], dim=1)

    def select(self, indices: Sequence[int]) -> "DecodeBatch":
        """A batch of some of the rows, copied, without the columns that none of them uses."""
        index = torch.tensor(indices, dtype=torch.int64, device=self.seen.device)
        seen = self.seen.index_select(0, index)
        used = seen.any(0).nonzero()
        first = int(used[0]) if len(used) else 0
        data = self.memory.data[..., first:, :].index_select(2, index)
        memory = KeyValues(data, self.memory.length - first)
        return DecodeBatch([self.rows[i] for i in indices], memory, seen[:, first:])


def merge(one: DecodeBatch, other: DecodeBatch) -> DecodeBatch:
    """One batch of the rows of two; the shorter memory is padded at the left."""
    length = max(one.memory.length, other.memory.length)
    layers, pair, _, heads, _, dim = one.memory.data.shape
    rows = len(one) + len(other)
    data = one.memory.data.new_zeros(layers, pair, rows, heads, length + SPARE_COLUMNS, dim)
    seen = one.seen.new_zeros(rows, length)
    start = 0
    for batch in (one, other):
        stop, pad = start + len(batch), length - batch.memory.length
        data[:, :, start:stop, :, pad:length] = batch.memory.data[..., : batch.memory.length, :]
        seen[start:stop, pad:] = batch.seen
        start = stop
    return DecodeBatch(one.rows + other.rows, KeyValues(data, length), seen)


def _with_columns(data: Tensor, columns: int) -> Tensor:
    # Zeros, not empty memory: attention multiplies masked values by 0, and 0 * NaN is NaN.
    shape = list(data.shape)
    shape[4] = columns
    return torch.cat([data, data.new_zeros(shape)], dim=4)
