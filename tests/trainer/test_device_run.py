"""The run for a GPU machine: rehearsed here as it would run there, with nothing but the sources."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from benchmarks.device import shard
from benchmarks.device.book import Book, Found, read_lines, tell
from benchmarks.device.flop import step_flop, weights
from benchmarks.device.models import QWEN3_06B, TINY, make_batch
from benchmarks.device.parts import Part, parts, run_part
from benchmarks.device.report import page
from benchmarks.device.sources import PORTIONS, ROOT, environment

ABSENT = ("confluent_kafka", "fastavro", "faust", "clickhouse_connect", "typer", "starlette")
"""What a bare machine lacks, of what the repository imports elsewhere."""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Surroundings without the Kafka client and its like: their import fails."""
    folder = tmp_path / "absent"
    folder.mkdir()
    for name in ABSENT:
        (folder / f"{name}.py").write_text(f"raise ImportError('a bare machine has no {name}')\n")
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": ""}


@pytest.mark.interpreter
def test_it_is_rehearsed_from_beginning_to_end(bare: dict[str, str], tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.device", "--rehearse", "--out", str(tmp_path)],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    found = {
        part["part"]: part
        for part in json.loads((tmp_path / "device-rehearsal.json").read_text())["parts"]
    }
    assert list(found) == [part.name for part in parts(rehearse=False)]
    assert {part["state"] for part in found.values()} == {"done"}
    (tests,) = found["kernel tests"]["lines"]
    assert tests["passed"] > 0
    for line in found["float64"]["lines"]:
        assert all(value < 1e-4 for name, value in line.items() if name != "case"), line
    errors = {line["case"]: line for line in found["step"]["lines"]}
    assert errors["cpu float32 sdpa"]["gradient_error"] == 0.0
    assert 0.0 < errors["cpu bfloat16 sdpa"]["gradient_error"] < 0.1
    assert errors["cpu float32 flex_attention"]["hidden_state_error"] < 1e-5
    assert all(line["tokens_per_second"] > 0 for line in found["trainer"]["lines"][:-1])
    assert found["trainer"]["lines"][-1]["unique_token_ratio"] < 1.0
    written = (tmp_path / "device-rehearsal.md").read_text()
    assert all(f"## {name}: done" in written for name in found)
    assert run.stdout.endswith(written + "\n")


def test_its_parts_import_nothing_but_the_sources_and_what_such_a_machine_has(
    bare: dict[str, str],
) -> None:
    """Without `site` there is no path to the package of this environment."""
    site = str(Path(torch.__file__).parents[1])
    surroundings = environment(True, {"PYTHONPATH": os.pathsep.join([bare["PYTHONPATH"], site])})
    modules = "accuracy, kernel_tests, models, report, shard, speed, step"
    code = f"""
from benchmarks.device import {modules}
import headrace.kernels
print(headrace.kernels.__file__)"""
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, **surroundings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().startswith(str(ROOT / "kernels"))
    assert all((ROOT / portion / "headrace").is_dir() for portion in PORTIONS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: it would be used")
def test_without_a_gpu_it_says_so_and_writes_nothing(bare: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.device", "--out", str(out)],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "no CUDA device" in run.stderr
    assert not out.exists()


def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Part:
    """A part that runs these lines."""
    (tmp_path / "scripted_part.py").write_text("import os, sys, time\n" + body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Part(name="scripted", share=0.5, command=("scripted_part", "{lines}"), rehearse=True)


def test_a_part_that_outlasts_its_time_is_ended_and_what_it_wrote_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        'open(sys.argv[1], \'w\').write(\'{"case": "first"}\\n{"case": "cut o\')\ntime.sleep(600)'
    )
    found = run_part(scripted(tmp_path, monkeypatch, body), 3.0, tmp_path)
    assert found.state == "out of time"
    assert found.lines == [{"case": "first"}]


def test_a_part_that_dies_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run_part(scripted(tmp_path, monkeypatch, "os._exit(9)"), 60.0, tmp_path)
    assert (found.state, found.lines) == ("ended with code 9", [])
    assert run_part(parts(rehearse=True)[0], 0.0, tmp_path).state.startswith("left out")


def test_the_shares_are_the_whole_budget_and_the_kernels_tests_come_first() -> None:
    every = parts(rehearse=False)
    assert sum(part.share for part in every) == pytest.approx(1.0)
    assert every[0].name == "kernel tests"


class Item:
    def __init__(self, name: str) -> None:
        self.name = name


def test_shards_hold_every_test_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"test_{number}" for number in range(11)]
    held: list[str] = []
    for number in range(3):
        monkeypatch.setenv(shard.SHARD, f"{number}/3")
        items = [Item(name) for name in names]
        shard.pytest_collection_modifyitems(items)  # type: ignore[arg-type]  # only listed
        held += [item.name for item in items]
    assert sorted(held) == sorted(names)


def test_operations_are_counted_by_token_read_and_by_token_sampled() -> None:
    assert weights(QWEN3_06B) == 440_401_920  # Qwen3-0.6B's card: 0.44 B without the embedding
    apart = make_batch(TINY, budget=64, rows=2, prompt=5, sampled=3)
    shared = make_batch(TINY, budget=64, rows=2, prompt=5, sampled=3, shared=4)
    read = {batch.packed_tokens: step_flop(TINY, batch) for batch in (apart, shared)}
    assert list(read) == [14, 10]
    pairs = 4 * (1 + 2 + 3 + 4) // 4  # of the four tokens that are read once less
    assert read[14] - read[10] == 6 * weights(TINY) * 4 + 12 * 2 * 2 * 16 * pairs
    assert step_flop(TINY, apart) == (
        6 * weights(TINY) * 14 + 6 * 130 * 32 * 6 + 12 * 2 * 2 * 16 * 2 * (7 * 8 // 2)
    )


def test_a_page_has_a_table_a_part(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    tell(file, "one", error=1.25e-7, state="ran")
    tell(file, "two", seconds=3.0)
    book = Book(path=tmp_path / "device-x.json", about={"device": "x", "date": "today"})
    book.add(Found(part="step", state="out of time", seconds=4.0, lines=read_lines(file)))
    text = page(book)
    assert "## step: out of time, 4 s" in text
    rows = [line for line in text.split("\n") if line.startswith("| ")]
    assert rows == [
        "| case | error | state | seconds |",
        "| one | 1.25e-07 | ran |  |",
        "| two |  |  | 3 |",
    ]
    assert all(first.count("|") == second.count("|") for first, second in pairwise(rows))
