"""What the stages' own code costs, without servers: CPU of one core, told on a busy one too.

`python -m benchmarks.streams.cores` from the repository's root. Takes of spans go through the
assembler from the record's bytes to those of its samples and episodes and the rows it owes; the
episodes go through credit from the record's bytes to those of Credits and the rows of `groups`.
Writes JSON to `benchmarks/results/`. Nothing is asserted of times.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from benchmarks.machine import about
from benchmarks.streams.load import Episode, Shape, Source

from headrace.connectors.kafka import LogRecord, Outgoing
from headrace.connectors.kafka.registry import Registry
from headrace.schemas import Codec, EpisodeBatch, build_span_batch, from_avro, partition_of
from headrace.schemas.topics import Topic
from headrace.streams.assemble.build import build
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.core import Assembler
from headrace.streams.assemble.intake import BatchReader
from headrace.streams.assemble.outbox import outgoing
from headrace.streams.assemble.spans import Spans, blocks
from headrace.streams.credit.config import CreditSettings
from headrace.streams.credit.core import Arrival, Groups
from headrace.streams.credit.delivery import batches_of
from headrace.streams.credit.shares import shares_of
from headrace.streams.credit.table import rows_of
from headrace.streams.reward import load_rule

RESULTS = Path(__file__).parents[1] / "results"
PARTITIONS = 8
_TAKES_A_STORE = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all of it; gives the exit code."""
    options = _options(argv)
    load = about(options)
    registry = Registry("mock://cores")
    registry.register_all()
    codec = Codec(registry)
    source = Source(Shape(), project="cores")
    phases = []
    for records, spans in ((1, 1), (5, 1), (25, 1), (200, 50)):
        episodes = [e for g in source.groups(options.episodes // 8, time.time_ns()) for e in g]
        takes = list(_takes(_records(episodes, codec, spans), records))
        phase, told = _assembled(takes, codec, records, spans)
        phases.append(phase)
    phases.append(_credited(told, codec))
    for phase in phases:
        sys.stdout.write(json.dumps(phase) + "\n")
    if not options.dry:
        file = RESULTS / f"cores-{load['cores']}-cores-{load['date']}.json"
        file.write_text(json.dumps({"about": load, "phases": phases}, indent=1) + "\n")
    return 0


class _Clock:
    """CPU-seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def of(self, what: str, call: Callable[..., Any], *given: Any, **options: Any) -> Any:
        begun = time.process_time()
        result = call(*given, **options)
        self.spent[what] = self.spent.get(what, 0.0) + time.process_time() - begun
        return result

    def us(self, count: int) -> dict[str, float]:
        """Microseconds of each and of all, per thing counted."""
        spent = {**self.spent, "all": sum(self.spent.values())}
        return {what: round(seconds / count * 1e6, 1) for what, seconds in spent.items()}


def _assembled(
    takes: Sequence[Sequence[LogRecord]], codec: Codec, records: int, spans: int
) -> tuple[dict[str, Any], list[Outgoing]]:
    clock, told, taken = _Clock(), [], 0
    config = AssembleConfig()
    most = config.message_bytes
    assembler = Assembler(config)
    reader = BatchReader(codec, partitions=PARTITIONS, stage="cores", unknown_schema_s=1)
    owed: list[Spans] = []
    for number, take in enumerate(takes, start=1):
        for record in take:
            assembler.advance(record.partition, record.log_time, record.offset)
        batches = clock.of("decode", lambda some: [reader.batch_of(one) for one in some], take)
        held = clock.of("group", Spans, batches)
        clock.of("fold", assembler.fold, held)
        folded = clock.of("gather", assembler.settle)
        built = clock.of("build", build, folded, most_text=most)
        told += clock.of(
            "encode", outgoing, built, codec, partitions=PARTITIONS, message_bytes=most
        )
        taken += held.n
        owed.append(held)
        if number % _TAKES_A_STORE == 0 or number == len(takes):
            opened = clock.of("gather", assembler.settle_open)
            clock.of("build", build, opened, most_text=most)
            clock.of("rows", blocks, owed)
            owed = []
        if assembler.full:
            assembler.evict()
    name = f"assemble, takes of {records} records of {spans} spans"
    return {"name": name, "spans": taken, "cpu_us_a_span": clock.us(taken)}, told


def _credited(told: Sequence[Outgoing], codec: Codec) -> dict[str, Any]:
    settings = CreditSettings()
    rule = load_rule(settings.rule)
    groups = Groups(rule, settings.method, settings.patience, settings.max_held)
    values = [one for one in told if one.topic == Topic.EPISODES]
    clock, count = _Clock(), 0
    for offset, one in enumerate(values):
        partition, log_time = one.partition, 1_000 + offset
        data = clock.of("decode", codec.decode, Topic.EPISODES, one.value)
        read = clock.of("objects", from_avro, EpisodeBatch, data).episodes
        arrivals = [Arrival(partition=partition, log_time=log_time, episode=e) for e in read]
        groups.advance(partition, log_time)
        groups.needs(arrivals)
        clock.of("fold", groups.fold, arrivals)
        changes = clock.of("settle", groups.settle)
        clock.of("rows", rows_of, changes, rule.id, settings.method.id)
        final = [
            share
            for change in changes
            if change.credits is not None
            for share in shares_of(change.held.state, change.credits, frozenset())
        ]
        clock.of("encode", batches_of, final, codec, PARTITIONS)
        groups.told(changes)
        count += len(read)
        if groups.full:
            groups.evict()
    spent = clock.us(count)
    core = sum(spent[what] for what in ("fold", "settle"))
    return {
        "name": "credit",
        "episodes": count,
        "cpu_us_an_episode": spent,
        "episodes_a_core_s": {"core": round(1e6 / core), "all": round(1e6 / spent["all"])},
    }


def _records(episodes: Sequence[Episode], codec: Codec, spans: int) -> Iterator[LogRecord]:
    """Records of `spans` spans of one partition, agents of a partition in turn."""
    waiting: dict[int, list[Any]] = {partition: [] for partition in range(PARTITIONS)}
    numbers: dict[tuple[str, str, str], int] = {}
    offset = 0

    def seal(home: int) -> LogRecord:
        nonlocal offset
        some, waiting[home] = waiting[home], []
        for key in {(s.project, s.rollout_id, s.attempt) for s in some}:
            numbers[key] = numbers.get(key, -1) + 1
        batch = build_span_batch(some, producer="one", sequence=offset, episode_batches=numbers)
        value = codec.encode(Topic.SPANS, batch)
        offset += 1
        return LogRecord(
            topic=Topic.SPANS, partition=home, offset=offset, log_time=1_000 + offset,
            value=value, key=None, headers={},
        )  # fmt: skip

    for i in range(0, len(episodes), 64):
        for turn in zip_longest(*(episode.spans for episode in episodes[i : i + 64])):
            for span in filter(None, turn):
                home = partition_of(span.rollout_id, PARTITIONS)
                waiting[home].append(span)
                if len(waiting[home]) >= spans:
                    yield seal(home)
    yield from (seal(home) for home, some in waiting.items() if some)


def _takes(records: Iterator[LogRecord], size: int) -> Iterator[list[LogRecord]]:
    take: list[LogRecord] = []
    for record in records:
        take.append(record)
        if len(take) == size:
            yield take
            take = []
    if take:
        yield take


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.streams.cores", description=__doc__)
    parser.add_argument("--episodes", type=int, default=800, help="of each phase")
    parser.add_argument("--dry", action="store_true", help="write no file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
