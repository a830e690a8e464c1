"""The assembler's surroundings, simulated: store, topics, producers, and what they say."""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.connectors.kafka import FORWARDED_HEADER, TICK_HEADER, DeadLetter, Outgoing
from headrace.schemas import (
    SCHEMA_FILES,
    Call,
    Codec,
    Episode,
    EpisodeBatch,
    Reward,
    Sample,
    Span,
    Start,
    UnknownSchemaId,
    build_span_batch,
    from_avro,
    partition_of,
    response_id,
    schema_text,
)
from headrace.streams.assemble.build import REPEATED_SCHEMA
from headrace.streams.assemble.columns import SPANS_SCHEMA
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.stage import AssembleStage
from headrace.streams.known import Known, number_of
from headrace.streams.stage import LogRecord

PARTITIONS = 2
IDLE, AGE, GRACE = 100, 5_000, 50
TOPIC = "headrace.spans"


class CrashedError(Exception):
    """The process dies here."""


class FakeRegistry:
    """Schema ids by position."""

    def schema_id(self, topic: str) -> int:
        return list(SCHEMA_FILES).index(topic) + 1

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        try:
            topic = list(SCHEMA_FILES)[schema_id - 1]
        except IndexError:
            raise UnknownSchemaId(f"no schema {schema_id}") from None
        parsed: dict[str, Any] = json.loads(schema_text(topic))
        return parsed


CODEC = Codec(FakeRegistry())


@dataclass
class World:
    """Store and topics that outlive a worker; `fuse` counts down to its death."""

    spans: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    episodes: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    repeated: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    sent: list[Outgoing] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    fuse: int = -1
    torn: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)  # takes and stores overlap

    def burn(self) -> bool:
        """One operation; returns whether it is the last, done though nobody hears of it."""
        self.fuse -= 1
        if self.fuse == 0 and not self.torn:
            raise CrashedError
        return self.fuse == 0

    def insert_arrow(self, table: str, data: pa.RecordBatch) -> int:
        with self.lock:
            return self._insert(table, data)

    def _insert(self, table: str, data: pa.RecordBatch) -> int:
        last = self.burn()
        target, names, version = {
            "spans": (self.spans, ("span_id",), "ver"),
            "episodes": (self.episodes, (), "version"),
            "repeated_batches": (self.repeated, ("producer", "episode_batch"), "ver"),
        }[table]
        for row in data.to_pylist():
            key = tuple(row[name] for name in ("project", "rollout_id", "attempt", *names))
            if key not in target or row[version] >= target[key][version]:
                target[key] = row
        if last:
            raise CrashedError
        return int(data.num_rows)

    def query_arrow(self, sql: str, parameters: dict[str, Any] | None = None) -> pa.Table:
        with self.lock:
            return self._query(sql, parameters)

    def _query(self, sql: str, parameters: dict[str, Any] | None) -> pa.Table:
        assert parameters is not None
        if "partitions" in parameters:
            rows = [
                {name: row[name] for name in ("project", "rollout_id", "attempt")}
                | {"home": row["partition"], "close_by": row["close_by"]}
                for row in self.episodes.values()
                if row["state"] == "open" and row["partition"] in parameters["partitions"]
            ]
            return pa.Table.from_pylist(rows)
        if "partition" in parameters:
            numbers = [
                number_of("/".join(key))
                for key, row in self.episodes.items()
                if row["partition"] == parameters["partition"]
            ]
            return pa.table({"number": pa.array(numbers, pa.uint64())})
        keys = set(parameters["keys"])
        if "FROM episodes" in sql:
            found = [key for key in self.episodes if key in keys]
            return pa.table(
                [pa.array([k[i] for k in found], pa.string()) for i in range(3)],
                names=["project", "rollout_id", "attempt"],
            )
        if "FROM repeated_batches" in sql:
            rows = [row for key, row in self.repeated.items() if key[:3] in keys]
            return pa.Table.from_pylist(rows, REPEATED_SCHEMA)
        rows = [row for key, row in self.spans.items() if key[:3] in keys]
        rows.sort(key=lambda row: row["offset"])
        plain = [
            pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type)
            for f in SPANS_SCHEMA
        ]
        return pa.Table.from_pylist(rows, pa.schema(plain))

    def send(self, records: Sequence[Any]) -> None:
        with self.lock:
            last = self.burn()
            for record in records:
                (self.letters if isinstance(record, DeadLetter) else self.sent).append(record)
            if last:
                raise CrashedError

    def published(self) -> list[Episode]:
        return [
            episode
            for record in self.sent
            if record.topic == "headrace.episodes"
            for episode in from_avro(
                EpisodeBatch, CODEC.decode(record.topic, record.value)
            ).episodes
        ]

    def samples(self) -> dict[str, Sample]:
        found = [
            from_avro(Sample, CODEC.decode(record.topic, record.value))
            for record in self.sent
            if record.topic == "headrace.samples"
        ]
        return {sample.sample_id: sample for sample in found}


def make_stage(world: World, known: Known | None = None, **changes: Any) -> AssembleStage:
    config = AssembleConfig(
        **{
            "idle_ms": IDLE,
            "max_age_ms": AGE,
            "deadline_grace_ms": GRACE,
            **changes,
        }
    )
    return AssembleStage(
        config,
        codec=CODEC,
        tables=world,
        log=world,
        dead_letters=world,
        span_partitions=PARTITIONS,
        episode_partitions=PARTITIONS,
        unknown_schema_s=0.01,
        known=known or Known(1 << 12),
    )


def run(
    stage: AssembleStage,
    *takes: Sequence[LogRecord],
    assigned: bool = False,
) -> None:
    async def go() -> None:
        if assigned:
            await stage.assigned([(TOPIC, partition) for partition in range(PARTITIONS)])
        for take in takes:
            await stage.take(take)
            await stage.store()

    asyncio.run(go())


def span_id(number: int) -> str:
    return f"{number:016x}"


class Producer:
    """Seals spans into records of a log, with gapless numbers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequence = 0
        self.numbers: dict[tuple[str, str, str], int] = defaultdict(lambda: -1)

    def seal(self, *spans: Span) -> bytes:
        for key in {(s.project, s.rollout_id, s.attempt) for s in spans}:
            self.numbers[key] += 1
        batch = build_span_batch(
            spans, producer=self.name, sequence=self.sequence, episode_batches=self.numbers
        )
        self.sequence += 1
        return CODEC.encode(TOPIC, batch)


def record(value: bytes | None, offset: int, at: int, rollout: str = "r", **rest: Any) -> LogRecord:
    flags = {"tick": TICK_HEADER, "forwarded": FORWARDED_HEADER}
    return LogRecord(
        topic=TOPIC,
        partition=rest.pop("partition", partition_of(rollout, PARTITIONS)),
        offset=offset,
        log_time=at,
        value=value,
        headers={flags[name]: b"" for name in rest},
    )


def plain(number: int, kind: str = "span", rollout: str = "r", **rest: Any) -> Span:
    return Span(
        rollout_id=rollout,
        attempt="a",
        span_id=span_id(number),
        kind=kind,
        name=kind,
        started_at=number,
        **rest,
    )


def start(number: int = 1, **facts: Any) -> Span:
    return plain(number, "attempt.start", input="What is 1 + 1?", start=Start(**facts))


def end(number: int = 99, status: str = "ok") -> Span:
    return plain(number, "attempt.end", status=status, output="2")


def reward(number: int, value: float = 1.0, target: str = "") -> Span:
    return plain(number, "reward", reward=Reward(name="right", value=value, target=target))


def call(number: int, tokens: int = 3, **facts: Any) -> Span:
    output = facts.pop("output", "two")
    settings: dict[str, Any] = {
        "model": "m",
        "policy": "p",
        "response_id": response_id(span_id(number)),
        "prompt_ids": np.arange(4),
        "sampled_ids": np.arange(tokens),
        "logprobs": np.full(tokens, -0.5),
        "runs": ((7, tokens),) if tokens else (),
        "trainable": True,
        "finish_reason": "stop",
    }
    return plain(number, "call", output=output, call=Call(**(settings | facts)))


def one_episode(*spans: Span, config: dict[str, Any] | None = None) -> tuple[World, Episode]:
    """Publish one episode made of a single record, and return it."""
    world = World()
    run(make_stage(world, **(config or {})), [record(Producer("p").seal(*spans), 0, 10)])
    (episode,) = world.published()
    return world, episode


def rows_of(item: LogRecord) -> pa.RecordBatch:
    """The rows that another worker inserted for a record before it died."""
    side = World()
    run(make_stage(side), [item])
    plain_schema = [
        pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type)
        for f in SPANS_SCHEMA
    ]
    return pa.RecordBatch.from_pylist(list(side.spans.values()), pa.schema(plain_schema))
