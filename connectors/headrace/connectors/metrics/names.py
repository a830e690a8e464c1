"""The metrics of the workers, as data; the table of docs/operations.md says the same (tested)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True, slots=True, frozen=True)
class MetricName:
    """One metric. Every one bears the label `part` too."""

    name: str
    kind: Literal["gauge", "counter", "histogram"] = "gauge"
    labels: tuple[str, ...] = ()
    text: str


READY = MetricName(
    name="headrace_ready", text="1 when the worker has loaded what it needs and takes records."
)
WAITING = MetricName(
    name="headrace_waiting", text="1 while it waits for Kafka, the registry or ClickHouse."
)
EVENTS = MetricName(
    name="headrace_events",
    kind="counter",
    labels=("event",),
    text="What it has counted since its start: spans, episodes, samples, attempts, dead_letters, …",
)
LAG_RECORDS = MetricName(
    name="headrace_lag_records",
    labels=("group", "topic", "partition"),
    text="Records that its consumer group has not acknowledged.",
)
LAG_SECONDS = MetricName(
    name="headrace_lag_seconds",
    labels=("group", "topic", "partition"),
    text="Age of the oldest of them.",
)
RETENTION_SECONDS = MetricName(
    name="headrace_retention_seconds",
    labels=("topic",),
    text="Age at which the topic lets a record go; a lag beyond it is a loss.",
)
OPEN_EPISODES = MetricName(
    name="headrace_open_episodes", text="Episodes that wait for their end (assemble)."
)
WAITING_GROUPS = MetricName(
    name="headrace_waiting_groups",
    text="Groups that wait for members (credit), or for their step (trainer).",
)
INSERT_SECONDS = MetricName(
    name="headrace_insert_seconds",
    kind="histogram",
    labels=("table",),
    text="Time of an insert into ClickHouse, failed ones included.",
)
FAILED_INSERTS = MetricName(
    name="headrace_failed_inserts",
    kind="counter",
    labels=("table",),
    text="Inserts that failed; each was tried again with the same bytes.",
)
DEAD_LETTERS = MetricName(
    name="headrace_dead_letters",
    labels=("topic",),
    text="Records on the dead-letter topics (sink).",
)
HALTED = MetricName(
    name="headrace_halted_partitions",
    text="Partitions that it does not read until `headrace resume`.",
)
HELD_BYTES = MetricName(
    name="headrace_held_bytes",
    text="Memory of spans and samples that it holds, as it is held to its bound.",
)
VERSION = MetricName(name="headrace_trainer_version", text="Version of its last step (trainer).")

METRICS = (
    READY,
    WAITING,
    EVENTS,
    LAG_RECORDS,
    LAG_SECONDS,
    RETENTION_SECONDS,
    OPEN_EPISODES,
    WAITING_GROUPS,
    INSERT_SECONDS,
    FAILED_INSERTS,
    DEAD_LETTERS,
    HALTED,
    HELD_BYTES,
    VERSION,
)
