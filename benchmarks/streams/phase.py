"""One phase of the benchmark: produce, wait until all of it is credited, measure, check."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.streams.check import Stored, faults
from benchmarks.streams.figures import Latency, Rates, latency, rates
from benchmarks.streams.follow import seen_on_topics
from benchmarks.streams.load import Expected
from benchmarks.streams.meter import by_stage, cpu_seconds, peak_bytes
from benchmarks.streams.parts import Running

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig
from headrace.connectors.kafka import KafkaConfig, Registry
from headrace.schemas import Codec

ROOT = Path(__file__).parents[2]
OnProgress = Callable[[int], None]
_POLL_S = 0.25


@dataclass(kw_only=True, slots=True, frozen=True)
class Plan:
    """What a phase produces. `rate` in episodes a second; 0: all at once."""

    name: str
    groups: int
    rate: float = 0.0
    options: Sequence[str] = ()
    """Further options of the producer."""
    timeout_s: float = 600.0


@dataclass(kw_only=True, slots=True, frozen=True)
class Outcome:
    """What a phase measured."""

    name: str
    offered_rate: float
    episodes: int
    spans: int
    groups: int
    records: int
    """Kafka records that the spans travelled in."""
    megabytes: float
    """Of these records, before compression."""
    rates: Rates
    cpu_per_1000_spans: dict[str, float]
    """CPU-seconds of each part, its idle work included."""
    cores: float
    """CPU-seconds of all of it, the producer too, per second of wall time."""
    peak_megabytes: dict[str, float]
    """Since the part was started; of all workers of a stage together."""
    to_credits: Latency | None
    """From an episode's end span being given to the SDK to its group's Credits on the topic (of
    the episode that ended last in its group)."""
    to_span_row: Latency | None
    """… to its row in `spans` being seen by a query."""
    to_group_row: Latency | None
    """… of the last of a group, to the group's final row being seen by a query."""
    timelines: dict[str, list[tuple[float, int]]]
    """(seconds, spans by then): produced, assembled, credited."""
    faults: list[str] = field(default_factory=list)


def idle_cores(running: Running, seconds: float) -> dict[str, float]:
    """CPU-seconds a second of each part while nothing comes."""
    pids = running.pids()
    before, begun = cpu_seconds(pids), time.monotonic()
    time.sleep(seconds)
    wall = time.monotonic() - begun
    after = cpu_seconds(pids)
    return by_stage({name: (spent - before[name]) / wall for name, spent in after.items()})


def run_phase(running: Running, plan: Plan, on_progress: OnProgress) -> Outcome:
    """Run a phase on parts that are idle. Raises RuntimeError if it does not end."""
    pids = running.pids()
    before = {stage: running.counters(stage) for stage in ("assemble", "credit", "sink")}
    with _producer(running, plan) as (go, report_file):
        cpu, begun = cpu_seconds(pids), time.monotonic()
        go()
        report = _settle(running, plan, before, report_file, on_progress)
        wall = time.monotonic() - begun
        spent = by_stage({n: s - cpu[n] for n, s in cpu_seconds(running.pids()).items()})
    spent["producer"] = report["cpu_s"]
    assembled = _grown(running, before, "assemble", "spans")
    return _outcome(running, plan, report, spent, wall, assembled)


@contextmanager
def _producer(running: Running, plan: Plan) -> Iterator[tuple[Callable[[], None], Path]]:
    settings = running.settings
    report = settings.directory / f"{plan.name}.json"
    given = {
        "bootstrap": settings.bootstrap,
        "registry": settings.registry_url,
        "clickhouse": settings.clickhouse_url,
        "project": plan.name,
        "report": str(report),
        "groups": str(plan.groups),
        "rate": str(plan.rate),
    }
    flags = [text for name, value in given.items() for text in (f"--{name}", value)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.streams.produce", *flags, *plan.options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *_python_path())))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin = process.stdin

    def go() -> None:
        stdin.write("go\n")
        stdin.flush()

    try:
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"the producer of {plan.name} ended before it was ready")
        yield go, report
    finally:
        stdin.close()
        if report.exists():
            process.wait(30)
        process.kill()
        process.wait()
        process.stdout.close()


def _python_path() -> list[str]:
    return list(filter(None, [os.environ.get("PYTHONPATH")]))


def _settle(
    running: Running,
    plan: Plan,
    before: Mapping[str, Mapping[str, Any]],
    report_file: Path,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Wait until the workers have done all; the producer's report."""
    end = time.monotonic() + plan.timeout_s
    report: dict[str, Any] | None = None
    while time.monotonic() < end:
        time.sleep(_POLL_S)
        spans = _grown(running, before, "assemble", "spans")
        on_progress(spans)
        running.pids()  # raises if a part died
        if report is None and report_file.exists():
            report = _read(report_file)
        if report is None:
            continue
        groups = {episode["group_id"] for episode in report["expected"]}
        done = (
            spans >= report["spans"],
            _grown(running, before, "assemble", "episodes") >= len(report["expected"]),
            sum(
                _grown(running, before, "credit", name)
                for name in running.counters("credit")
                if name.startswith("credits.")
            )
            >= len(groups),
            _grown(running, before, "sink", "tasks") >= report["tasks"],
        )
        if all(done):
            return report
    raise RuntimeError(f"{plan.name} was not done in {plan.timeout_s:g} s")


def _read(report: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(report.read_text())
    except ValueError:  # being written
        return None
    return found


def _grown(running: Running, before: Mapping[str, Mapping[str, Any]], stage: str, name: str) -> int:
    return int(running.counters(stage).get(name, 0)) - int(before[stage].get(name, 0))


def _outcome(
    running: Running,
    plan: Plan,
    report: dict[str, Any],
    spent: Mapping[str, float],
    wall: float,
    assembled: int,
) -> Outcome:
    settings = running.settings
    expected = [Expected(**fields) for fields in report["expected"]]
    registry = Registry(settings.registry_url)
    kafka = KafkaConfig(bootstrap=settings.bootstrap)
    seen = seen_on_topics(kafka, Codec(registry), plan.name)
    registry.close()
    stored = _stored(settings.clickhouse_url, plan.name)
    found = faults(expected, stored, seen, assembled, report["tasks"])
    if report["lost"]:
        found.append(f"the producer lost {report['lost']:,} spans")
    if plan.rate and (unseen := report["watched"] - len(report["visible_ns"])):
        found.append(f"no query saw the end span of {unseen:,} episodes in time")
    groups: dict[str, list[int]] = {}
    for episode in expected:
        groups.setdefault(episode.group_id, []).append(report["ended_ns"][episode.rollout_id])
    last_end = {group: max(times) for group, times in groups.items()}
    credited = {group: facts[0] * 1_000_000 for group, facts in seen.credited.items()}
    spans = sum(episode.spans for episode in expected)
    return Outcome(
        name=plan.name,
        offered_rate=plan.rate,
        episodes=len(expected),
        spans=spans,
        groups=len(groups),
        records=report["records"],
        megabytes=report["bytes"] / 1e6,
        rates=rates(report, expected, stored, seen),
        cpu_per_1000_spans={name: seconds / spans * 1000 for name, seconds in spent.items()},
        cores=sum(spent.values()) / wall,
        peak_megabytes=by_stage({n: s / 1e6 for n, s in peak_bytes(running.pids()).items()}),
        to_credits=latency(last_end, credited) if plan.rate else None,
        to_span_row=latency(report["ended_ns"], report["visible_ns"]) if plan.rate else None,
        to_group_row=latency(last_end, report["credited_ns"]) if plan.rate else None,
        timelines=_timelines(report, expected, seen.episode_times, credited),
        faults=found,
    )


def _stored(url: str, project: str) -> Stored:
    tables = ClickHouse(ClickHouseConfig(url=url))
    given: dict[str, object] = {"project": project}
    where = "WHERE project = {project:String}"

    def count(table: str) -> int:
        return int(str(tables.command(f"SELECT count() FROM {table} {where}", given)))

    try:
        episodes = tables.query(
            "SELECT rollout_id, attempt, state, n_spans, digest "
            f"FROM (SELECT * FROM episodes FINAL {where})",
            given,
        )
        groups = tables.query(f"SELECT group_id, state FROM groups FINAL {where}", given)
        return Stored(
            spans=count("spans"),
            episodes={str(row["rollout_id"]): row for row in episodes},
            groups={str(row["group_id"]): str(row["state"]) for row in groups},
            tasks=count("tasks FINAL"),
        )
    finally:
        tables.close()


def _timelines(
    report: Mapping[str, Any],
    expected: Sequence[Expected],
    episode_times: Sequence[tuple[int, int]],
    credited: Mapping[str, int],
) -> dict[str, list[tuple[float, int]]]:
    first = report["first_ns"]
    by_group: dict[str, int] = {}
    for episode in expected:
        by_group[episode.group_id] = by_group.get(episode.group_id, 0) + episode.spans
    finals = [(time_ns, by_group[group]) for group, time_ns in credited.items()]
    return {
        "produced": [
            *((seconds, spans) for seconds, spans in report["timeline"]),
            ((report["last_ns"] - first) / 1e9, report["spans"]),
        ],
        "assembled": _summed(first, [(ms * 1_000_000, n) for ms, n in episode_times]),
        "credited": _summed(first, finals),
    }


def _summed(first: int, events: Sequence[tuple[int, int]]) -> list[tuple[float, int]]:
    total, line = 0, []
    for time_ns, spans in sorted(events):
        total += spans
        line.append(((time_ns - first) / 1e9, total))
    return line[:: max(1, len(line) // 500)] + line[-1:]
