"""Key-value memory of a batch, and the attention that reads it in place."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache

ATTENTION = "headrace"


class KeyValues(Cache):
    """Keys and values of all layers in one tensor, written in place by the model's forward pass.

    data is [layers, 2, rows, heads, capacity, dim]. The next forward pass over q tokens writes
    the columns length .. length + q; `commit` then makes them part of the memory.
    """

    def __init__(self, data: Tensor, length: int) -> None:
        super().__init__(layers=[])
        self.data = data
        self.length = length

    @property
    def capacity(self) -> int:
        """Columns that there is room for."""
        return self.data.shape[4]

    def commit(self, tokens: int) -> None:
        """Keep the columns that the last forward pass wrote."""
        self.length += tokens

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Write one layer's new columns; return views of all its columns."""
        end = self.length + key_states.shape[2]
        keys, values = self.data[layer_idx]
        keys[:, :, self.length : end] = key_states
        values[:, :, self.length : end] = value_states
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns in use."""
        return self.length


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Masked attention in which the heads of a group read one copy of their keys and values.

    transformers' own way repeats keys and values for every query head when there is a mask:
    three times the memory traffic for SmolLM2 at each decode step.

    Args:
        query: [rows, heads, q, dim].
        key: [rows, groups, k, dim]; value likewise.
        attention_mask: bool [rows, 1, q, k], True where a query may look; no row all False.

    Returns:
        [rows, q, heads, dim] and no attention weights.
    """
    rows, heads, length, dim = query.shape
    groups = key.shape[1]
    folded = query.reshape(rows, groups, heads // groups * length, dim)
    mask = attention_mask.repeat(1, 1, heads // groups, 1)
    output = scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling)
    return output.reshape(rows, heads, length, dim).transpose(1, 2).contiguous(), None


def register_attention() -> None:
    """Make the attention known to transformers under the name ATTENTION."""
    AttentionInterface.register(ATTENTION, grouped_attention)


def causal_mask(seen: Tensor, new: Tensor) -> Tensor:
    """Who looks at whom when columns are added to a memory.

    Args:
        seen: bool [rows, k], the columns of the memory that hold a token of the row.
        new: bool [rows, q], likewise for the columns to add.

    Returns:
        bool [rows, 1, q, k + q]. A padding query looks at itself alone: a row without any key
        would give NaN.
    """
    rows, length = new.shape
    square = torch.ones(length, length, dtype=torch.bool, device=new.device)
    among_new = (new.unsqueeze(1) & square.tril()) | torch.eye(
        length, dtype=torch.bool, device=new.device
    )
    to_seen = seen.unsqueeze(1).expand(rows, length, seen.shape[1])
    return torch.cat([to_seen, among_new], dim=-1).unsqueeze(1)
