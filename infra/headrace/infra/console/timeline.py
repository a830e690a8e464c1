"""Where a span lies in its episode, as parts of the width of the page."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 1000
_LEAST = 3


@dataclass(kw_only=True, slots=True, frozen=True)
class Bar:
    """Left edge and width of a span, in thousandths of the episode."""

    x: int
    width: int


def bars(times: Sequence[tuple[int, int]]) -> list[Bar]:
    """Bars of (began, ended), nanoseconds of the agent's clock; 0: not known.

    A span that ended before it began, or has no end, is as wide as the narrowest.
    """
    known = [began for began, _ in times if began > 0]
    if not known:
        return [Bar(x=0, width=_LEAST) for _ in times]
    first = min(known)
    whole = max(1, max(max(began, ended) for began, ended in times) - first)
    return [_bar(began or first, ended, first, whole) for began, ended in times]


def _bar(began: int, ended: int, first: int, whole: int) -> Bar:
    x = min((began - first) * WIDTH // whole, WIDTH - _LEAST)
    width = max(_LEAST, (max(began, ended) - began) * WIDTH // whole)
    return Bar(x=x, width=min(width, WIDTH - x))
