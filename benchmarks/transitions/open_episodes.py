"""Measures the assembler's memory with very many open episodes, and with one of very many calls.

`python -m benchmarks.transitions.open_episodes` from the repository's root drives the assemble
stage with what the brokers and ClickHouse would give it; what it writes is counted and let go.
Writes JSON to `benchmarks/results/`. Exit code 1: an episode was forgotten.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from benchmarks.machine import about

from headrace.connectors.kafka import LogRecord, Registry
from headrace.schemas import Call, Codec, Span, Start, build_span_batch
from headrace.schemas.topics import Topic
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.stage import AssembleStage

RESULTS = Path(__file__).parents[1] / "results"
A_RECORD, A_TAKE = 100, 10
TEXT = "t" * 3_000


class _Nowhere:
    """Tables and topics that keep nothing: no episode is known, and none is read back."""

    def query_arrow(self, sql: str, parameters: dict[str, object] | None = None) -> pa.Table:
        names = ("project", "rollout_id", "attempt", "home", "close_by")
        return pa.table({name: pa.array([], pa.string()) for name in names})

    def insert_arrow(self, table: str, data: pa.RecordBatch | pa.Table) -> int:
        return int(data.num_rows)

    def send(self, records: Sequence[Any]) -> None:
        return


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the measurement; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=100_000, help="(%(default)s)")
    parser.add_argument("--calls", type=int, default=10_000, help="of one (%(default)s)")
    parser.add_argument("--memory-bytes", type=int, default=64 << 20, help="(%(default)s)")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    options = parser.parse_args(argv)
    many = _measure(
        "open episodes", _opened(options.episodes), options.memory_bytes, options.episodes
    )
    long = _measure("calls of one episode", _long(options.calls), options.memory_bytes, 1)
    sys.stdout.write(f"{json.dumps(many)}\n{json.dumps(long)}\n")
    if not options.dry:
        facts = about(options)
        file = RESULTS / f"open-episodes-{facts['cores']}-cores-{facts['date']}.json"
        file.write_text(json.dumps({"about": facts, "phases": [many, long]}, indent=1) + "\n")
    return int(not (many["all_are_known"] and long["all_are_known"]))


def _measure(
    name: str, spans: Iterator[list[Span]], memory_bytes: int, episodes: int
) -> dict[str, Any]:
    nowhere = _Nowhere()
    codec = Codec(Registry("mock://open-episodes"))
    stage = AssembleStage(
        AssembleConfig(memory_bytes=memory_bytes), codec=codec, tables=nowhere, log=nowhere,
        dead_letters=nowhere, span_partitions=1, episode_partitions=1,
    )  # fmt: skip
    process = psutil.Process()
    before = process.memory_info().rss
    peak = 0
    total = 0

    async def go() -> None:
        nonlocal peak, total
        await stage.assigned([(Topic.SPANS, 0)])
        take: list[LogRecord] = []
        for number, batch in enumerate(spans):
            total += len(batch)
            take.append(_record(codec, number, batch))
            if len(take) == A_TAKE:
                await stage.take(take)
                take = []
                peak = max(peak, process.memory_info().rss)
        await stage.take(take)

    asyncio.run(go())
    held, stubs = stage.counters["in_memory"], stage.counters["stubs"]
    return {
        "name": name,
        "spans": total,
        "held_episodes": held,
        "stubs": stubs,
        "held_megabytes": round(stage.counters["memory_bytes"] / 1e6, 1),
        "bound_megabytes": round(memory_bytes / 1e6, 1),
        "process_grew_megabytes": round((peak - before) / 1e6),
        "all_are_known": held + stubs >= episodes,
    }


_NUMBERS: dict[tuple[str, str, str], int] = {}


def _record(codec: Codec, number: int, spans: list[Span]) -> LogRecord:
    for key in {(span.project, span.rollout_id, span.attempt) for span in spans}:
        _NUMBERS[key] = _NUMBERS.get(key, -1) + 1
    batch = build_span_batch(spans, producer="p", sequence=number, episode_batches=_NUMBERS)
    for span in spans:
        if span.kind == "attempt.start":
            _NUMBERS.pop((span.project, span.rollout_id, span.attempt), None)
    value = codec.encode(Topic.SPANS, batch)
    return LogRecord(topic=Topic.SPANS, partition=0, offset=number, log_time=number, value=value)


def _opened(episodes: int) -> Iterator[list[Span]]:
    """A start and a call of each episode, and no end."""
    batch: list[Span] = []
    for number in range(episodes):
        rollout = f"r{number:08}"
        batch += [_start(rollout), _call(rollout, 2)]
        if len(batch) >= A_RECORD:
            yield batch
            batch = []
    if batch:
        yield batch


def _long(calls: int) -> Iterator[list[Span]]:
    """One episode of very many calls, and no end."""
    yield [_start("long")]
    for first in range(0, calls, A_RECORD):
        yield [_call("long", 2 + number) for number in range(first, min(calls, first + A_RECORD))]


def _start(rollout: str) -> Span:
    return Span(
        rollout_id=rollout, attempt="a", span_id=f"{1:016x}", kind="attempt.start", name="start",
        input=TEXT[:200], start=Start(group_id=rollout),
    )  # fmt: skip


def _call(rollout: str, number: int) -> Span:
    return Span(
        rollout_id=rollout, attempt="a", span_id=f"{number:016x}", kind="call", name="chat",
        started_at=number, ended_at=number + 1, input=TEXT, output=TEXT[:300],
        call=Call(
            model="m", policy="p", prompt_ids=np.arange(300, dtype="<u4"),
            sampled_ids=np.arange(50, dtype="<u4"), logprobs=np.zeros(50, dtype="<f4"),
            runs=((0, 50),), trainable=True, finish_reason="stop",
        ),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
