"""The streams' benchmark: its load is what it says, and its counts cannot overlook anything."""

import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.streams import cores
from benchmarks.streams.check import Stored, faults
from benchmarks.streams.compare import newest, read, side_by_side
from benchmarks.streams.figures import Latency, Rates, latency, rates
from benchmarks.streams.follow import Seen
from benchmarks.streams.load import Episode, Expected, Shape, Source
from benchmarks.streams.meter import by_stage
from benchmarks.streams.phase import Outcome
from benchmarks.streams.report import markdown

from headrace.connectors.kafka.registry import Registry
from headrace.schemas import build_span_batch, encode_body, partition_of, read_span_batch
from headrace.schemas.codec import Codec
from headrace.streams.assemble.build import Built, build
from headrace.streams.assemble.columns import LoggedBatch
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.core import Assembler
from headrace.streams.assemble.spans import Spans

ROOT = Path(__file__).parents[2]
SHAPE = Shape(calls=3, prompt_tokens=120, completion_tokens=20, tool_tokens=5, group_size=2)
NOW = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    groups = Source(SHAPE, project="p", seed=3).groups(4, NOW)
    return [episode for group in groups for episode in group]


@pytest.fixture(scope="module")
def built(episodes: list[Episode]) -> Built:
    """What the assembler makes of the load, through the wire."""
    registry = Registry("mock://benchmark")
    registry.register_all()
    codec = Codec(registry)
    batches = []
    for offset, episode in enumerate(episodes):
        key = (episode.task.project, episode.task.rollout_id, episode.attempt)
        record = build_span_batch(
            episode.spans, producer="one", sequence=offset, episode_batches={key: 0}
        )
        value = codec.framed("headrace.spans", encode_body("headrace.spans", record))
        columns = read_span_batch(codec.decode("headrace.spans", value))
        home = partition_of(episode.task.rollout_id, 8)
        batches.append(LoggedBatch(columns=columns, partition=home, offset=offset, log_time=1_000))
    assembler = Assembler(AssembleConfig())
    assembler.fold(Spans(batches))
    folded = assembler.settle()
    return build(folded, most_text=1 << 22)


def expected_of(episodes: list[Episode]) -> list[Expected]:
    return [episode.expected for episode in episodes]


def everything(built: Built) -> tuple[Stored, Seen]:
    """Topics and tables as a run without any fault leaves them."""
    rows = {row["rollout_id"]: row for row in built.rows.to_pylist()}
    groups = {episode.group_id for episode in built.episodes}
    stored = Stored(
        spans=sum(episode.n_spans for episode in built.episodes),
        episodes=rows,
        groups=dict.fromkeys(groups, "final"),
        tasks=len(rows),
    )
    seen = Seen(
        episodes=Counter((e.rollout_id, e.attempt, e.version) for e in built.episodes),
        episode_times=[(1_000, e.n_spans) for e in built.episodes],
        samples=Counter(sample.sample_id for sample in built.samples),
        credits=Counter((group, 1) for group in groups),
        credited=dict.fromkeys(groups, (2_000, "train", SHAPE.group_size)),
    )
    return stored, seen


def test_the_load_has_the_shape_that_was_asked_for(episodes: list[Episode]) -> None:
    spans = [span for episode in episodes for span in episode.spans]
    calls = [span.call for span in spans if span.call is not None]
    assert Counter(span.kind for span in episodes[0].spans) == {
        "attempt.start": 1, "call": 3, "tool": 2, "reward": 1, "attempt.end": 1,
    }  # fmt: skip
    assert len(spans) == len(episodes) * SHAPE.spans
    assert len({span.span_id for span in spans}) == len(spans)
    assert np.mean([len(call.prompt_ids) for call in calls]) == SHAPE.prompt_tokens
    assert {len(call.sampled_ids) for call in calls} == {SHAPE.completion_tokens}
    assert all(len(call.logprobs) == len(call.sampled_ids) for call in calls)
    assert {e.task.group_size for e in episodes} == {SHAPE.group_size}


def test_a_shape_without_room_for_its_calls_is_refused() -> None:
    with pytest.raises(ValueError, match="prompt_tokens is 100"):
        Shape(calls=4, prompt_tokens=100, completion_tokens=100)


def test_what_the_assembler_makes_of_the_load_has_no_fault(
    episodes: list[Episode], built: Built
) -> None:
    stored, seen = everything(built)
    spans = len(episodes) * SHAPE.spans
    assert all(episode.complete for episode in built.episodes)
    assert all(call.trainable for episode in built.episodes for call in episode.calls)
    assert faults(expected_of(episodes), stored, seen, spans, len(episodes)) == []


def _double_sample(stored: Stored, seen: Seen) -> Stored:
    seen.samples[next(iter(seen.samples))] += 1
    return stored


def _credited_twice(stored: Stored, seen: Seen) -> Stored:
    seen.credits[next(iter(seen.credits))] += 1
    return stored


def _second_version(stored: Stored, seen: Seen) -> Stored:
    rollout, attempt, version = next(iter(seen.episodes))
    seen.episodes[rollout, attempt, version - 2] += 1
    return stored


def _other_span(stored: Stored, seen: Seen) -> Stored:
    rollout, row = next(iter(stored.episodes.items()))
    rows = {**stored.episodes, rollout: {**row, "digest": row["digest"] + 1}}
    return dataclasses.replace(stored, episodes=rows)


def _open_group(stored: Stored, seen: Seen) -> Stored:
    return dataclasses.replace(stored, groups={**stored.groups, next(iter(stored.groups)): "open"})


def _double_span(stored: Stored, seen: Seen) -> Stored:
    return dataclasses.replace(stored, spans=stored.spans + 1)


def _lost_credit(stored: Stored, seen: Seen) -> Stored:
    seen.credited.pop(next(iter(seen.credited)))
    return stored


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_double_span, "rows of spans: 65, not 64"),
        (_other_span, "1 episodes with other spans than were sent"),
        (_double_sample, "1 samples published twice"),
        (_second_version, "episodes on the topic: 0 missing, 1 that nobody sent"),
        (_credited_twice, "1 credits published twice"),
        (_lost_credit, "credited groups: 1 missing, 0 that nobody sent"),
        (_open_group, "1 groups not final"),
    ],
)
def test_whatever_is_lost_or_doubled_is_named(
    episodes: list[Episode], built: Built, change: Any, fault: str
) -> None:
    stored, seen = everything(built)
    stored = change(stored, seen)
    spans = len(episodes) * SHAPE.spans
    (found,) = faults(expected_of(episodes), stored, seen, spans, len(episodes))
    assert found.startswith(fault)


def test_spans_taken_twice_by_the_assembler_are_named(
    episodes: list[Episode], built: Built
) -> None:
    stored, seen = everything(built)
    (found,) = faults(expected_of(episodes), stored, seen, 65, len(episodes))
    assert found == "spans taken by the assembler: 65, not 64"


def test_its_command_is_there_and_tells_its_options() -> None:
    command = [sys.executable, "-m", "benchmarks.streams.run", "--help"]
    told = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(option in told for option in ("--episodes", "--table", "--seconds", "--dry"))


def test_a_run_stands_beside_the_newest_result(tmp_path: Path) -> None:
    for date, spans in (("2026-01-02", 100.0), ("2025-12-31", 1.0)):
        phase = {
            "name": "flood", "cores": 1.5, "to_credits": None, "to_span_row": None,
            "rates": {"assembled_spans": spans, "credited_episodes": 10.0},
            "cpu_per_1000_spans": {"assemble": 0.09, "kafka": 0.02},
        }  # fmt: skip
        file = tmp_path / f"streams-a-machine-2-cores-{date}.json"
        file.write_text(json.dumps({"phases": [phase]}))
    before = newest(tmp_path, "streams")
    assert before is not None
    assert before.name.endswith("2026-01-02.json")
    now = Outcome(
        name="flood", offered_rate=0.0, episodes=8, spans=64, groups=4, records=8, megabytes=1.0,
        rates=Rates(
            produced_spans=1.0, produced_megabytes=1.0, assembled_spans=200.0,
            credited_episodes=20.0, credited_spans=1.0, rows=1.0,
        ),
        cpu_per_1000_spans={"assemble": 0.045, "kafka": 0.02}, cores=1.25, peak_megabytes={},
        to_credits=Latency(count=1, p50=90.0, p90=95.0, p99=99.0, worst=99.0), to_span_row=None,
        to_group_row=None, timelines={},
    )  # fmt: skip
    table = side_by_side(read(before), [now, dataclasses.replace(now, name="new")])
    assert "| flood | assembled spans/s | 100 | 200 |" in table
    assert "| flood | assemble, CPU ms a span | 0.090 | 0.045 |" in table
    assert "| flood | Credits on the topic, p50 ms | - | 90.000 |" in table
    assert "| new |" not in table
    assert newest(tmp_path, "other") is None


def test_what_the_workers_of_a_stage_cost_is_summed() -> None:
    assert by_stage({"assemble": 1.0, "assemble-1": 2.0, "kafka": 4.0}) == {
        "assemble": 3.0, "kafka": 4.0,
    }  # fmt: skip


def test_the_stages_code_is_measured_without_servers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cores.main(["--dry", "--episodes", "16"]) == 0
    *assembled, credited = map(json.loads, capsys.readouterr().out.splitlines())
    assert [phase["spans"] for phase in assembled] == [160] * 4
    assert credited["episodes"] == 16
    assert set(credited["episodes_a_core_s"]) == {"core", "all"}


def test_latencies_are_milliseconds_of_what_was_seen() -> None:
    begun = {str(i): 0 for i in range(100)}
    done = {str(i): (i + 1) * 1_000_000 for i in range(100)}
    found = latency(begun, done)
    assert found is not None
    assert (found.count, found.p50, found.worst) == (100, 50.5, 100.0)
    assert latency(begun, {}) is None


def test_a_page_tells_the_figures_and_what_is_wrong(episodes: list[Episode], built: Built) -> None:
    stored, seen = everything(built)
    report = {"first_ns": 0, "last_ns": 500_000_000, "bytes": 1_000_000}
    found = rates(report, expected_of(episodes), stored, seen)
    assert (found.produced_spans, found.assembled_spans) == (128.0, 64.0)
    assert found.credited_episodes == 4.0
    parts = ("producer", "kafka", "assemble", "credit", "clickhouse", "sink", "registry")
    outcome = Outcome(
        name="flood", offered_rate=0.0, episodes=8, spans=64, groups=4, records=8, megabytes=1.0,
        rates=found, cpu_per_1000_spans=dict.fromkeys(parts, 0.25), cores=0.5,
        peak_megabytes=dict.fromkeys(parts[1:], 100.0), to_credits=None, to_span_row=None,
        to_group_row=None, timelines={}, faults=["rows of spans: 65, not 64"],
    )  # fmt: skip
    facts = {
        "cores": 2, "processor": "a processor", "date": "2026-01-01", "memory_gb": 8,
        "system": "Linux", "python": "3.11", "versions": {},
        "options": {
            "calls": 3, "prompt_tokens": 120, "completion_tokens": 20, "group_size": 2,
            "partitions": 8,
        },
    }  # fmt: skip
    page = markdown(facts, dict.fromkeys(parts[1:], 0.01), [outcome])
    assert "| flood | 64 | 8 | 128 | 2.0 | 64 | 4 |" in page
    assert "| 1.750 |" in page
    assert "**Wrong counts:** flood: rows of spans: 65, not 64." in page
