"""Which ids a worker's tables may know: a Bloom filter. Pure.

What it does not know is new, and needs no query; what it knows is asked for (rule: what is not held
is asked for). It never forgets and never grows: full, it says yes to everything, and all is asked.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from headrace.schemas.spans import Array

NUMBER = "halfMD5"
"""ClickHouse's function of an id's text that gives `number_of`."""

_BITS = 1 << 27  # 16 MiB: one false yes in 10^6 at a million ids, 0.4 % at ten million
_PROBES = 4


def number_of(text: str) -> int:
    """An id as 64 bits, the same here and in ClickHouse; equal ones cost a query, no more."""
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big")


def _numbers(texts: Sequence[str]) -> Array:
    return np.array([number_of(text) for text in texts], np.uint64)


class Known:
    """A set of ids with false members and none missing (Bloom, CACM 1970)."""

    def __init__(self, bits: int = _BITS) -> None:
        self._bits = bits
        self._words = np.zeros(bits // 8, np.uint8)

    def add(self, numbers: Array) -> None:
        """Add ids by their numbers [n], uint64."""
        for byte, bit in self._places(numbers):
            np.bitwise_or.at(self._words, byte, bit)

    def note(self, texts: Sequence[str]) -> None:
        """Add ids."""
        self.add(_numbers(texts))

    def among(self, texts: Iterable[str]) -> list[str]:
        """Those of some ids that may be known."""
        asked = list(texts)
        if not asked:
            return []
        numbers = _numbers(asked)
        found = np.ones(len(asked), bool)
        for byte, bit in self._places(numbers):
            found &= (self._words[byte] & bit) != 0
        return [text for text, yes in zip(asked, found.tolist(), strict=True) if yes]

    def _places(self, numbers: Array) -> Iterable[tuple[Array, Array]]:
        # Two halves give all the probes (Kirsch and Mitzenmacher, ESA 2006).
        first, second = numbers & np.uint64(0xFFFFFFFF), (numbers >> np.uint64(32)) | np.uint64(1)
        for probe in range(_PROBES):
            place = (first + np.uint64(probe) * second) % np.uint64(self._bits)
            bit = np.left_shift(np.uint8(1), (place & np.uint64(7)).astype(np.uint8))
            yield (place >> np.uint64(3)).astype(np.int64), bit
