"""Two trees step in turn on the same calls, and a page says how they do."""

import json
from pathlib import Path

import pytest
from benchmarks.trainer import reading
from benchmarks.trainer.run import ROOT, main

from headrace.infra.embedded.models import tiny_llama


def test_two_trees_are_measured_side_by_side(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "model")
    arguments = ["--before", str(ROOT), "--model", str(model), "--trl", str(tmp_path / "none")]
    more = ["--presets", "grpo", "--steps", "1", "--threads", "1", "--note", "Shared."]
    out = tmp_path / "out"
    assert main([*arguments, *more, "--directory", str(out)]) == 0
    (file,) = out.glob("*.json")
    result = json.loads(file.read_text())
    by = result["presets"]["grpo"]
    assert by.keys() == {"now", "before"}
    for one in by.values():
        assert one["step_seconds"] > 0.0
        assert one["unique_tokens"] < one["row_tokens"]
        assert one["at_once"]["bytes"] > one["at_once"]["weights"] > 0
    assert by["now"]["rows"] == by["before"]["rows"] == 48
    page = file.with_suffix(".md").read_text()
    assert "Shared." in page
    assert page.count("| `grpo` |") == 2


def test_rows_are_read_alone_and_together(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rows", "4", "24", "8", "16", "--fills", "1", "4096"]
    assert reading.main([*arguments, "--steps", "1", "--threads", "1", "--recompute"]) == 0
    alone, together = (
        line.split(" | ") for line in capsys.readouterr().out.splitlines() if "shared" in line
    )
    assert (alone[1], together[1]) == ("each row alone", "1 of ≤ 4,096")
    assert int(together[2]) == 31 + 3 * 15 < int(alone[2]) == 4 * 31
    assert all(
        float(line[3]) >= 0.0 and float(line[5].strip(" |")) > 0 for line in (alone, together)
    )
