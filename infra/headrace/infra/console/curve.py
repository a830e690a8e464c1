"""Reward by version as points of a drawing."""

from collections.abc import Sequence

WIDTH, HEIGHT = 640, 160


def points(versions: Sequence[int], values: Sequence[float]) -> str:
    """`x,y` pairs for an SVG polyline; the lowest value at the bottom, the highest at the top."""
    left, right = min(versions), max(versions)
    low, high = min(values), max(values)
    return " ".join(
        f"{_scaled(version, left, right) * WIDTH:.1f},"
        f"{(1 - _scaled(value, low, high)) * HEIGHT:.1f}"
        for version, value in zip(versions, values, strict=True)
    )


def _scaled(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5
