"""What a worker tells of itself, as Prometheus reads it."""

from __future__ import annotations

import json
import math
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.connectors.kafka.lag import Lag
from headrace.connectors.metrics import Reporter, collect
from headrace.connectors.metrics.names import METRICS
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.connectors.worker.insert_times import InsertClock

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
REPORT = {
    "ready": True,
    "waiting": "",
    "halted": [{"partition": 3}],
    "counters": {"spans": 120, "open": 4, "memory_bytes": 2048, "stubs": 2, "dead_letters": 1},
}


@pytest.fixture
def reporter(tmp_path: Path) -> Iterator[Reporter]:
    made = Reporter(tmp_path / "run" / "assemble-0.json", part="assemble")
    made.serve()
    yield made
    made.close()


def url(reporter: Reporter, directory: Path) -> str:
    reporter.tell(REPORT)
    return str(read_heartbeat(directory / "run" / "assemble-0.json")["metrics"])


def get(address: str, **headers: str) -> str:
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read()).decode()


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(v for k, v in sorted(sample.labels.items()) if k != "part")): value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if (value := sample.value) is not None
    }


def test_levels_and_counts_of_a_report_are_told_apart(reporter: Reporter, tmp_path: Path) -> None:
    told = samples(get(url(reporter, tmp_path)))
    assert told["headrace_ready", ()] == 1
    assert told["headrace_waiting", ()] == 0
    assert told["headrace_halted_partitions", ()] == 1
    assert told["headrace_open_episodes", ()] == 4
    assert told["headrace_held_bytes", ()] == 2048
    assert told["headrace_events_total", ("spans",)] == 120
    assert told["headrace_events_total", ("dead_letters",)] == 1
    assert not [key for key in told if key[1] in (("stubs",), ("open",), ("memory_bytes",))]


def test_where_it_answers_stands_in_a_file_for_prometheus(
    reporter: Reporter, tmp_path: Path
) -> None:
    address = url(reporter, tmp_path)
    listing = json.loads((tmp_path / "run" / "metrics" / "assemble-0.json").read_text())
    (target,) = listing[0]["targets"]
    assert address == f"http://{target}/metrics"
    assert target.startswith("127.0.0.1:"), "open to other machines"
    assert listing[0]["labels"] == {"headrace_part": "assemble"}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/metrics", {"Host": "evil.example"}, 403),
        ("/metrics", {"Origin": "https://evil.example"}, 403),
        ("/", {}, 404),
    ],
)
def test_web_pages_and_other_paths_get_nothing(
    reporter: Reporter, tmp_path: Path, path: str, headers: dict[str, str], status: int
) -> None:
    address = url(reporter, tmp_path).removesuffix("/metrics") + path
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(address, **headers)
    with caught.value as error:
        assert error.code == status


def test_a_disk_that_takes_nothing_does_not_stop_the_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    reporter = Reporter(tmp_path / "run" / "sink-0.json", part="sink")
    reporter.serve()
    reporter.tell(REPORT)
    reporter.close()
    assert "cannot tell how it fares" in caplog.text


def test_lags_bear_their_place() -> None:
    lags = {
        ("headrace.spans", 0): Lag(records=5, seconds=1.5, retention_s=604_800.0),
        ("headrace.spans", 1): Lag(records=0, seconds=0.0, retention_s=604_800.0),
        ("headrace.policies", 0): Lag(records=0, seconds=0.0, retention_s=math.inf),
    }
    families = {family.name: family for family in collect.of_lags("assemble", "g", lags)}
    by_place: dict[tuple[Any, ...], float] = {
        (s.labels["topic"], s.labels["partition"]): s.value
        for s in families["headrace_lag_records"].samples
    }
    assert by_place["headrace.spans", "0"] == 5
    assert {s.labels["group"] for s in families["headrace_lag_seconds"].samples} == {"g"}
    kept = {s.labels["topic"]: s.value for s in families["headrace_retention_seconds"].samples}
    assert kept == {"headrace.spans": 604_800.0, "headrace.policies": math.inf}


def test_inserts_are_counted_in_their_buckets_and_failures_apart() -> None:
    clock = InsertClock()
    for seconds in (0.004, 0.02, 100.0):
        clock.add("spans", seconds, failed=False)
    clock.add("spans", 0.3, failed=True)
    times, failed = collect.of_inserts("assemble", clock.tables())
    buckets = {s.labels["le"]: s.value for s in times.samples if s.name.endswith("_bucket")}
    assert (buckets["0.005"], buckets["0.025"], buckets["0.5"], buckets["+Inf"]) == (1, 2, 3, 4)
    (total,) = [s.value for s in times.samples if s.name.endswith("_sum")]
    assert total == pytest.approx(100.324)
    assert [s.value for s in failed.samples] == [1]


def test_the_page_lists_every_metric() -> None:
    rows = re.findall(r"^\| `(headrace_\w+)` \| (.*?) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [
        (
            one.name + ("_total" if one.kind == "counter" else ""),
            ", ".join(f"`{label}`" for label in ("part", *one.labels)),
            one.text,
        )
        for one in METRICS
    ]
