"""The same again and again; what several signals look for."""

from collections.abc import Hashable, Sequence
from itertools import groupby


def cycles(things: Sequence[Hashable], periods: Sequence[int], times: int) -> int:
    """How many stretches repeat themselves `times` or more, with the shortest period that has any.

    Example:
        cycles("abcxyxyxyz", periods=(1, 2), times=3)  # 1: xyxyxy
    """
    for period in periods:
        same = [a == b for a, b in zip(things, things[period:], strict=False)]
        enough = period * (times - 1)
        if found := sum(again and len(list(run)) >= enough for again, run in groupby(same)):
            return found
    return 0
