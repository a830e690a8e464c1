"""The three stages as the conformance suite sees them: what goes in, and what comes out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import Outgoing
from headrace.schemas import (
    Codec,
    Episode,
    EpisodeBatch,
    EpisodeReward,
    Span,
    Start,
    Task,
    build_span_batch,
    partition_of,
    to_avro,
)
from headrace.streams.sink.tables import TOPICS

PARTITIONS = 8


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One stage. `make` gives the record of a number; each makes one row in the end."""

    name: str
    topic: str
    """Where its records go; poison too."""
    reads: Sequence[str]
    make: Callable[[Codec, str, int], Outgoing]
    rows: str
    """Query of the final rows of {project:String}, whole."""

    def content(self, client: ClickHouse, project: str) -> pa.Table:
        return client.query_arrow(self.rows, {"project": project})


def _spans(codec: Codec, project: str, number: int) -> Outgoing:
    rollout = f"{project}-{number:04}"

    def span(kind: str, at: int) -> Span:
        return Span(
            project=project,
            rollout_id=rollout,
            attempt="a",
            span_id=f"{at:016x}",
            kind=kind,
            name=kind,
            started_at=at,
            start=Start() if kind == "attempt.start" else None,
        )

    record = build_span_batch(
        [span("attempt.start", 1), span("tool", 2), span("attempt.end", 3)],
        producer=project,
        sequence=number,
        episode_batches={(project, rollout, "a"): 0},
    )
    topic = "headrace.spans"
    home = partition_of(rollout, PARTITIONS)
    return Outgoing(topic=topic, value=codec.encode(topic, record), partition=home)


def _episode(codec: Codec, project: str, number: int) -> Outgoing:
    group = f"{project}-{number:04}"
    episode = Episode(
        project=project,
        rollout_id=group,
        attempt="a",
        group_id=group,
        group_size=1,
        version=3,
        status="ok",
        rewards=[EpisodeReward(name="reward", value=float(number))],
    )
    topic = "headrace.episodes"
    value = codec.encode(topic, to_avro(EpisodeBatch(episodes=[episode])))
    return Outgoing(topic=topic, value=value, partition=partition_of(group, PARTITIONS))


def _task(codec: Codec, project: str, number: int) -> Outgoing:
    rollout = f"{project}-{number:04}"
    task = Task(project=project, rollout_id=rollout, group_id="g", input=str(number), subject=None)
    topic = "headrace.tasks"
    home = partition_of(rollout, PARTITIONS)
    return Outgoing(topic=topic, value=codec.encode(topic, to_avro(task)), partition=home)


def _rows_of(table: str, state: str, order: str) -> str:
    chosen = f" WHERE state = '{state}'" if state else ""
    return (
        f"SELECT * FROM (SELECT * FROM {table} FINAL WHERE project = {{project:String}}){chosen} "
        f"ORDER BY {order}"
    )


SUBJECTS = (
    Subject(
        name="assemble",
        topic="headrace.spans",
        reads=("headrace.spans",),
        make=_spans,
        rows=_rows_of("episodes", "closed", "rollout_id"),
    ),
    Subject(
        name="credit",
        topic="headrace.episodes",
        reads=("headrace.episodes",),
        make=_episode,
        rows=_rows_of("groups", "final", "group_id"),
    ),
    Subject(
        name="sink",
        topic="headrace.tasks",
        reads=TOPICS,
        make=_task,
        rows=_rows_of("tasks", "", "rollout_id"),
    ),
)
