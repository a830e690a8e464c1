"""The producing process: agents' spans through the SDK, at full speed or paced.

Started by `benchmarks.streams.run`: prepares, prints "ready", waits for a line, produces, and
writes what it did as JSON. Everything of it that is timed is on this machine's clock.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from benchmarks.streams.load import Episode, Shape, Source
from benchmarks.streams.probe import Probe

from headrace.connectors.clickhouse import ClickHouseConfig
from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Writer, partitions_of
from headrace.connectors.sdk import KafkaTransport, SdkConfig, Telemetry
from headrace.connectors.sdk.transport import Taken
from headrace.schemas import Codec, Span, partition_of, to_avro
from headrace.schemas.topics import Topic

TASKS = Topic.TASKS
_IN_FLIGHT = 64  # episodes that a flood interleaves
_TASKS_AT_ONCE = 512
_MOST_HELD = 64_000_000  # bytes that the SDK may have in hand before a flood waits for it
_TICK_S = 0.5


@dataclass(kw_only=True, slots=True)
class Report:
    """What was produced. Times are nanoseconds since the epoch."""

    first_ns: int
    last_ns: int = 0
    """When Kafka had everything."""
    cpu_s: float = 0.0
    """Of this process, from the first span to the last delivery, threads included."""
    spans: int = 0
    """Delivered, as the SDK counts them."""
    records: int = 0
    bytes: int = 0
    """Of the records' values, before compression."""
    tasks: int = 0
    lost: int = 0
    ended_ns: dict[str, int] = field(default_factory=dict)
    """Rollout -> when its end span was given to the SDK."""
    watched: int = 0
    """Rollouts of which a query was to see the end span."""
    visible_ns: dict[str, int] = field(default_factory=dict)
    """Rollout -> when a query first saw its end span."""
    credited_ns: dict[str, int] = field(default_factory=dict)
    """Group -> when a query first saw its final row."""
    expected: list[dict[str, Any]] = field(default_factory=list)
    timeline: list[tuple[float, int]] = field(default_factory=list)
    """(seconds since the first span, spans delivered by then)."""


class _Counting(KafkaTransport):
    """The SDK's own way to Kafka, counting bytes."""

    sent_bytes = 0

    def send(self, partition: int, value: bytes, taken: Taken) -> bool:
        """Hand a record over; False: no room now."""
        sent = super().send(partition, value, taken)
        self.sent_bytes += len(value) * sent
        return sent


class Producers:
    """A runner's and a gateway's telemetry, and the task source's writer."""

    def __init__(self, options: argparse.Namespace) -> None:
        config = SdkConfig(
            bootstrap=options.bootstrap,
            registry_url=options.registry,
            project=options.project,
            memory_bytes=1_000_000_000,
        )
        self._ways = [_Counting(config), _Counting(config)]
        runner, gateway = self._ways
        self.runner, self.gateway = (
            Telemetry(config, lambda: runner),
            Telemetry(config, lambda: gateway),
        )
        kafka = KafkaConfig(bootstrap=options.bootstrap)
        self._writer = Writer(kafka)
        self._partitions = partitions_of(kafka, TASKS)
        self._codec = Codec(Registry(options.registry))

    def tasks(self, episodes: Sequence[Episode]) -> None:
        """Put the episodes' tasks on their topic."""
        for i in range(0, len(episodes), _TASKS_AT_ONCE):
            self._writer.send([self._task(e) for e in episodes[i : i + _TASKS_AT_ONCE]])

    def delivered(self) -> int:
        """Spans that Kafka has."""
        return self.runner.stats().delivered + self.gateway.stats().delivered

    def close(self, report: Report) -> None:
        """Deliver the rest and count."""
        for telemetry in (self.runner, self.gateway):
            telemetry.close(60.0)
            stats = telemetry.stats()
            report.spans += stats.delivered
            report.records += stats.delivered_batches
            report.lost += stats.dropped + stats.rejected + stats.undeliverable + stats.pending
        report.last_ns = time.time_ns()
        report.bytes = sum(way.sent_bytes for way in self._ways)
        self._writer.close()

    def _task(self, episode: Episode) -> Outgoing:
        rollout = episode.task.rollout_id
        return Outgoing(
            topic=TASKS,
            key=rollout,
            value=self._codec.encode(TASKS, to_avro(episode.task)),
            partition=partition_of(rollout, self._partitions),
        )


def flood(producers: Producers, groups: Sequence[Sequence[Episode]], report: Report) -> None:
    """Everything at once: many agents' spans in turn, in batches as full as the SDK makes them."""
    episodes = [episode for group in groups for episode in group]
    producers.tasks(episodes)
    report.first_ns = time.time_ns()
    noted = 0.0
    for i in range(0, len(episodes), _IN_FLIGHT):
        some = episodes[i : i + _IN_FLIGHT]
        for turn in zip_longest(*(episode.spans for episode in some)):
            for span in turn:
                if span is not None:
                    producers.runner.emit(span)
        now = time.time_ns()
        report.ended_ns |= {episode.task.rollout_id: now for episode in some}
        while producers.runner.stats().held_bytes > _MOST_HELD:
            time.sleep(0.005)
        noted = _note(producers, report, noted)


async def paced(
    producers: Producers,
    groups: Sequence[Sequence[Episode]],
    report: Report,
    *,
    rate: float,
    step_s: float,
    probe: Probe,
) -> None:
    """A new group whenever `rate` episodes a second ask for one; its agents run side by side.

    As in production, start, calls and end are awaited until Kafka has them; each step of an agent
    takes `step_s`.
    """
    begun = time.monotonic()
    report.first_ns = time.time_ns()
    running: set[asyncio.Task[None]] = set()
    pace, noted = len(groups[0]) / rate, 0.0
    for i, group in enumerate(groups):
        await asyncio.sleep(max(0.0, begun + i * pace - time.monotonic()))
        await asyncio.to_thread(producers.tasks, group)
        for j, episode in enumerate(group):
            # Agents of a group do not step in time with each other.
            agent = _agent(producers, episode, report, step_s, j / len(group) * step_s, probe)
            running.add(asyncio.create_task(agent))
        noted = _note(producers, report, noted)
        for task in [task for task in running if task.done()]:
            running.discard(task)
            task.result()
    await asyncio.gather(*running)


async def _agent(
    producers: Producers,
    episode: Episode,
    report: Report,
    step_s: float,
    delay_s: float,
    probe: Probe,
) -> None:
    await asyncio.sleep(delay_s)
    for span in episode.spans:
        if span.kind == "call":
            await asyncio.sleep(step_s)
            await producers.gateway.aemit_durably(span)
        elif span.kind == "attempt.start":
            await producers.runner.aemit_durably(span)
        elif span.kind == "attempt.end":
            await _end(producers, episode, span, report, probe)
        else:
            producers.runner.emit(span)


async def _end(
    producers: Producers, episode: Episode, span: Span, report: Report, probe: Probe
) -> None:
    rollout = episode.task.rollout_id
    report.ended_ns[rollout] = time.time_ns()
    probe.watch(rollout, episode.attempt, episode.task.group_id)
    await producers.runner.aemit_durably(span)


def _note(producers: Producers, report: Report, noted: float) -> float:
    now = time.time_ns()
    if now / 1e9 - noted < _TICK_S:
        return noted
    report.timeline.append(((now - report.first_ns) / 1e9, producers.delivered()))
    return now / 1e9


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare, wait for the word, produce, report."""
    options = _options(argv)
    shape = Shape(
        calls=options.calls,
        prompt_tokens=options.prompt_tokens,
        completion_tokens=options.completion_tokens,
        tool_tokens=options.tool_tokens,
        group_size=options.group_size,
    )
    source = Source(shape, project=options.project, seed=options.seed)
    groups = source.groups(options.groups, time.time_ns())
    producers = Producers(options)
    probe = Probe(ClickHouseConfig(url=options.clickhouse), options.project)
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    report = Report(first_ns=time.time_ns())
    if options.rate:
        probe.start()
        asyncio.run(
            paced(
                producers, groups, report, rate=options.rate, step_s=options.step, probe=probe
            )
        )  # fmt: skip
    else:
        flood(producers, groups, report)
    producers.close(report)
    report.cpu_s = time.process_time() - cpu
    report.tasks = sum(len(group) for group in groups)
    if options.rate:
        report.visible_ns, report.credited_ns = probe.finish(options.patience)
        report.watched = probe.watched
    report.expected = [asdict(episode.expected) for group in groups for episode in group]
    options.report.write_text(json.dumps(asdict(report)))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.streams.produce", description=__doc__)
    for name in ("bootstrap", "registry", "clickhouse", "project"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--groups", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0, help="episodes a second; 0: all at once")
    parser.add_argument("--step", type=float, default=0.5, help="seconds of an agent's step")
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=4)
    parser.add_argument("--prompt-tokens", type=int, default=600)
    parser.add_argument("--completion-tokens", type=int, default=100)
    parser.add_argument("--tool-tokens", type=int, default=30)
    parser.add_argument("--group-size", type=int, default=8)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
