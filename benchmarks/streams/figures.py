"""Rates and latencies from what was produced, stored and seen. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.streams.check import Stored
from benchmarks.streams.follow import Seen
from benchmarks.streams.load import Expected


@dataclass(kw_only=True, slots=True, frozen=True)
class Rates:
    """Per second of wall time; every span, row and episode counts once."""

    produced_spans: float
    """From the first span given to the SDK until Kafka had the last."""
    produced_megabytes: float
    assembled_spans: float
    """From the first span given to the SDK until the last Episode was on its topic."""
    credited_episodes: float
    """… until the last Credits were."""
    credited_spans: float
    rows: float
    """Rows of `spans`, `episodes`, `groups` and `tasks`, until the last Credits were."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Latency:
    """Milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    worst: float


def rates(
    report: Mapping[str, Any], expected: Sequence[Expected], stored: Stored, seen: Seen
) -> Rates:
    """The rates of a phase. `report` is the producer's."""
    spans = sum(episode.spans for episode in expected)
    first = report["first_ns"]
    produced = (report["last_ns"] - first) / 1e9
    assembled = max((ms for ms, _ in seen.episode_times), default=0) / 1e3 - first / 1e9
    credited = max((facts[0] for facts in seen.credited.values()), default=0) / 1e3 - first / 1e9
    rows = stored.spans + len(stored.episodes) + len(stored.groups) + stored.tasks
    return Rates(
        produced_spans=spans / produced,
        produced_megabytes=report["bytes"] / 1e6 / produced,
        assembled_spans=spans / assembled,
        credited_episodes=len(expected) / credited,
        credited_spans=spans / credited,
        rows=rows / credited,
    )


def latency(begun: Mapping[str, int], done: Mapping[str, int]) -> Latency | None:
    """Of the ids in both; times in nanoseconds since the epoch. None if there are none."""
    times = np.array([(done[name] - at) / 1e6 for name, at in begun.items() if name in done])
    if not len(times):
        return None
    p50, p90, p99 = np.percentile(times, [50, 90, 99]).tolist()
    return Latency(count=len(times), p50=p50, p90=p90, p99=p99, worst=float(times.max()))
