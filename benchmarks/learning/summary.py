"""Figures over the seeds of a demo, and of two settings on the same questions."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from headrace.infra.paired import PairedTest, paired

Run = Mapping[str, Any]


@dataclass(kw_only=True, slots=True, frozen=True)
class Mean:
    """A mean over seeds, with its 95 % interval by Student's t; infinite for one seed."""

    value: float
    half: float
    count: int


def mean(values: Sequence[float]) -> Mean:
    """Of one number a seed."""
    count, value = len(values), sum(values) / len(values)
    if count < 2:
        return Mean(value=value, half=math.inf, count=count)
    spread = math.sqrt(sum((one - value) ** 2 for one in values) / (count - 1))
    half = float(stats.t.ppf(0.975, count - 1)) * spread / math.sqrt(count)
    return Mean(value=value, half=half, count=count)


def what(run: Run) -> tuple[str, str]:
    """Demo and settings."""
    return run["demo"], run["settings"]


def by_what(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs of each demo and settings, in their order."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault(what(run), []).append(run)
    return found


def rate(answers: Sequence[int]) -> float:
    """Share of right answers."""
    return sum(answers) / len(answers)


def gain(run: Run) -> float:
    """Rate of the last version less that of the first."""
    return rate(run["after"]) - rate(run["before"])


def curves(runs: Sequence[Run]) -> list[tuple[int, Mean]]:
    """Mean reward of the training episodes by version, over those runs that have the version."""
    found: dict[int, list[float]] = {}
    for run in runs:
        for row in run["curve"]:
            found.setdefault(int(row["version"]), []).append(float(row["reward"]))
    return [(version, mean(found[version])) for version in sorted(found)]


def share(run: Run, signal: str, version: int) -> float:
    """Share of the held-out episodes of a version that have a signal."""
    rows = (row for row in run["signals"] if (row["split"], row["signal"]) == ("eval", signal))
    return next((float(row["share"]) for row in rows if row["version"] == version), 0.0)


def against(runs: Sequence[Run]) -> list[tuple[Run, Run, PairedTest]]:
    """Last versions of a demo under two settings and one seed, on the same questions.

    The first of the two is the one whose answers count as `after`.
    """
    return [
        (one, other, paired([bool(x) for x in other["after"]], [bool(x) for x in one["after"]]))
        for one, other in itertools.combinations(runs, 2)
        if one["demo"] == other["demo"]
        and one["seed"] == other["seed"]
        and len(one["after"]) == len(other["after"])
    ]
