"""A worker's report as metrics. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from headrace.connectors.kafka.lag import Lag
from headrace.connectors.kafka.offsets import Partition
from headrace.connectors.metrics import names
from headrace.connectors.metrics.names import MetricName
from headrace.connectors.worker.insert_times import BUCKETS_S, InsertTimes

GAUGES: Mapping[str, MetricName] = {
    "open": names.OPEN_EPISODES,
    "groups_waiting": names.WAITING_GROUPS,
    "memory_bytes": names.HELD_BYTES,
    "waiting_groups": names.WAITING_GROUPS,
    "held_bytes": names.HELD_BYTES,
    "version": names.VERSION,
}
"""What in a report, or among its counters, is a level and not a count."""
LEVELS = frozenset({"in_memory", "stubs", "waiting", "spooled"})
"""Counters that go up and down and have no metric."""


def of_report(part: str, report: Mapping[str, Any]) -> Iterator[Metric]:
    """What the worker said of itself last."""
    if not report:
        return
    yield _gauge(names.READY, [((part,), bool(report.get("ready")))])
    yield _gauge(names.WAITING, [((part,), bool(report.get("waiting")))])
    yield _gauge(names.HALTED, [((part,), len(report.get("halted", ())))])
    counters: Mapping[str, Any] = report.get("counters", {})
    facts = {**report, **counters}
    for name, metric in GAUGES.items():
        if isinstance(facts.get(name), int | float):
            yield _gauge(metric, [((part,), facts[name])])
    events = CounterMetricFamily(
        names.EVENTS.name, names.EVENTS.text, labels=["part", *names.EVENTS.labels]
    )
    for name, count in sorted(counters.items()):
        if name not in GAUGES and name not in LEVELS:
            events.add_metric([part, name], count)
    yield events


def of_lags(part: str, group: str, lags: Mapping[Partition, Lag]) -> Iterator[Metric]:
    """How far it is behind."""
    places = [((part, group, topic, str(n)), lag) for (topic, n), lag in sorted(lags.items())]
    yield _gauge(names.LAG_RECORDS, [(labels, lag.records) for labels, lag in places])
    yield _gauge(names.LAG_SECONDS, [(labels, lag.seconds) for labels, lag in places])
    retention = {topic: lag.retention_s for (topic, _), lag in sorted(lags.items())}
    yield _gauge(names.RETENTION_SECONDS, [((part, topic), s) for topic, s in retention.items()])


def of_inserts(part: str, tables: Mapping[str, InsertTimes]) -> Iterator[Metric]:
    """How long ClickHouse took."""
    if not tables:
        return
    seconds = HistogramMetricFamily(
        names.INSERT_SECONDS.name,
        names.INSERT_SECONDS.text,
        labels=["part", *names.INSERT_SECONDS.labels],
    )
    failed = CounterMetricFamily(
        names.FAILED_INSERTS.name,
        names.FAILED_INSERTS.text,
        labels=["part", *names.FAILED_INSERTS.labels],
    )
    bounds = [*map(str, BUCKETS_S), "+Inf"]
    for table, times in sorted(tables.items()):
        buckets = list(zip(bounds, accumulate(times.counts), strict=True))
        seconds.add_metric([part, table], buckets, times.seconds)
        failed.add_metric([part, table], times.failed)
    yield seconds
    yield failed


def of_dead_letters(part: str, depths: Mapping[str, int]) -> Iterator[Metric]:
    """How many records were set aside, by dead-letter topic."""
    yield _gauge(names.DEAD_LETTERS, [((part, topic), n) for topic, n in sorted(depths.items())])


def _gauge(metric: MetricName, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(metric.name, metric.text, labels=["part", *metric.labels])
    for labels, value in values:
        family.add_metric(labels, float(value))
    return family
