"""Two trees step in turn on the same calls, and a page says how they do."""

import json
from pathlib import Path

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
