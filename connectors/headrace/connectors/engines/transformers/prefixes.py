"""Keys and values of prompts that were seen before, for prompts that begin in the same way."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Below this, computing tokens again is as cheap as finding and copying them.
MIN_SHARED_TOKENS = 32

TokenIds = NDArray[np.int64]


@dataclass(slots=True, frozen=True)
class Prefix:
    """The first `length` tokens of a prompt: data is [layers, 2, 1, heads, length, dim]."""

    length: int
    data: Tensor


def shared_length(one: TokenIds, other: TokenIds) -> int:
    """How many tokens two sequences have in common at their beginning."""
    size = min(len(one), len(other))
    different = np.flatnonzero(one[:size] != other[:size])
    return int(different[0]) if len(different) else size


class PrefixCache:
    """The keys and values of recent prompts, least recently used out first.

    They depend on the weights: entries belong to one policy version.
    """

    def __init__(self, limit: int) -> None:
        """limit: tokens held in all; 0 holds nothing."""
        self.limit = limit
        self._tokens = 0
        self._entries: OrderedDict[tuple[int, bytes], tuple[TokenIds, Tensor]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def match(self, version: int, prompt: TokenIds) -> Prefix | None:
        """The longest known beginning of a prompt that leaves at least its last token.

        Where the prompt itself is known it is taken, so that it is read as it was the first time.
        """
        own = (version, prompt.tobytes())
        if own in self._entries and len(prompt) > MIN_SHARED_TOKENS:
            return self._take(own, len(prompt) - 1)
        best, best_length = None, MIN_SHARED_TOKENS - 1
        for key, (ids, _) in self._entries.items():
            if key[0] == version:
                length = min(shared_length(ids, prompt), len(prompt) - 1)
                if length > best_length:
                    best, best_length = key, length
        if best is None:
            return None
        return self._take(best, best_length)

    def _take(self, key: tuple[int, bytes], length: int) -> Prefix:
        self._entries.move_to_end(key)
        return Prefix(length, self._entries[key][1][..., :length, :])

    def add(self, version: int, ids: TokenIds, data: Tensor) -> None:
        """Keep the keys and values of a whole sequence, [layers, 2, 1, heads, len(ids), dim]."""
        key = (version, ids.tobytes())
        if not MIN_SHARED_TOKENS <= len(ids) <= self.limit or key in self._entries:
            return
        self._entries[key] = (ids, data)
        self._tokens += len(ids)
        while self._tokens > self.limit:
            _, (evicted, _) = self._entries.popitem(last=False)
            self._tokens -= len(evicted)

    def forget(self, version: int) -> None:
        """Drop what was computed with a version's weights."""
        for key in [key for key in self._entries if key[0] == version]:
            ids, _ = self._entries.pop(key)
            self._tokens -= len(ids)
