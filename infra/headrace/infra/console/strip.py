"""Rewards of a group as dots on a line."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 120


@dataclass(kw_only=True, slots=True, frozen=True)
class Strip:
    """Dots as (x, how many lie there), and where the mean is."""

    dots: tuple[tuple[float, int], ...]
    mean: float
    width: int = WIDTH


def strip(rewards: Sequence[float]) -> Strip | None:
    """The rewards from 0 to 1, or as far as they reach beyond; None: there is none."""
    drawn = [value for value in rewards if abs(value) <= 1e15]  # and no NaN
    if not drawn:
        return None
    low, high = min(0.0, *drawn), max(1.0, *drawn)
    counts: dict[float, int] = {}
    for value in drawn:
        x = round(4 + (WIDTH - 8) * (value - low) / (high - low), 1)
        counts[x] = counts.get(x, 0) + 1
    mean = sum(drawn) / len(drawn)
    return Strip(
        dots=tuple(sorted(counts.items())),
        mean=round(4 + (WIDTH - 8) * (mean - low) / (high - low), 1),
    )
