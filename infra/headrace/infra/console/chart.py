"""Curves over versions as the points of a drawing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

WIDTH, HEIGHT = 560, 190
SMALL = (300, 130)
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 24
_TICKS = 4
_MOST = 1e15


@dataclass(kw_only=True, slots=True, frozen=True)
class Point:
    """A value at an x, with its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(kw_only=True, slots=True, frozen=True)
class Line:
    """One curve of a chart: an SVG polyline, its dots, and the polygon of its interval."""

    name: str
    points: str
    dots: tuple[tuple[float, float], ...]
    band: str
    first: Point
    last: Point


@dataclass(kw_only=True, slots=True, frozen=True)
class Chart:
    """What a template draws: lines, and ticks as (position, label)."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int
    height: int


def chart(
    title: str, series: Mapping[str, Sequence[Point]], size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Chart | None:
    """The drawing of some curves, each in the order of its x; None: there is no finite value."""
    width, height = size
    kept = {name: [p for p in points if _is_drawn(p.y)] for name, points in series.items()}
    every = [point for points in kept.values() for point in points]
    if not every:
        return None
    bounds = [value for p in every for value in (p.y, p.low, p.high) if _is_drawn(value)]
    y_marks = ticks(min(bounds), max(bounds))
    x_marks = sorted({point.x for point in every})
    across = _Scale(x_marks[0], x_marks[-1], LEFT, width - RIGHT)
    up = _Scale(y_marks[0], y_marks[-1], height - BOTTOM, TOP)
    step = max(1, math.ceil(len(x_marks) * 44 / width))
    return Chart(
        title=title,
        lines=tuple(_line(name, pts, across, up) for name, pts in kept.items() if pts),
        x_ticks=tuple((across(mark), f"{mark:g}") for mark in x_marks[::step]),
        y_ticks=tuple((up(mark), f"{mark:.4g}") for mark in y_marks),
        width=width,
        height=height,
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(mark * step, 12) for mark in range(first, last + 1)]


@dataclass(slots=True, frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 1)


def _line(name: str, points: Sequence[Point], across: _Scale, up: _Scale) -> Line:
    edges = [(p.x, p.low, p.high) for p in points if _is_drawn(p.low) and _is_drawn(p.high)]
    over = [(across(x), up(high)) for x, _, high in edges if high is not None]
    under = [(across(x), up(low)) for x, low, _ in reversed(edges) if low is not None]
    dots = tuple((across(p.x), up(p.y)) for p in points)
    return Line(
        name=name,
        points=_pairs(dots),
        dots=dots,
        band=_pairs([*over, *under]) if len(edges) > 1 else "",
        first=points[0],
        last=points[-1],
    )


def _pairs(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _is_drawn(value: float | None) -> TypeGuard[float]:
    return value is not None and abs(value) <= _MOST  # False for what is no number
