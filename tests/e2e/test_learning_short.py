"""The learning benchmark, short, on the recovery demo: everything real, one version."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.learning.run import main

from headrace.infra.demo import CASES

SECONDS = 420

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * SECONDS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the benchmark wrote."""
    written = tmp_path_factory.mktemp("learning")
    assert main(["recovery", "--short", "--seeds", "1", "--directory", str(written)]) == 0
    return written


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, Any]:
    """The one run."""
    (run,) = json.loads((folder / "learning.json").read_text())["runs"]
    assert (run["demo"], run["settings"], run["seed"]) == ("recovery", "settings.toml", 1)
    found: dict[str, Any] = run
    return found


def test_its_page_and_its_plot_tell_the_run(folder: Path) -> None:
    assert "| recovery | 1 | 1 | 8 |" in (folder / "learning.md").read_text()
    assert (folder / "learning.png").stat().st_size > 0


def test_both_versions_were_asked_the_same_tasks(told: dict[str, Any]) -> None:
    assert (len(told["before"]), len(told["after"])) == (8, 8)
    assert told["curve"][0]["version"] == 0
    assert told["better"] - told["worse"] == sum(told["after"]) - sum(told["before"])


def test_in_every_held_out_episode_a_tool_failed(told: dict[str, Any]) -> None:
    failed = {
        row["version"]: (row["episodes"], row["share"])
        for row in told["signals"]
        if (row["split"], row["signal"]) == ("eval", "tool_errors")
    }
    assert failed == {0: (8, 1), 1: (8, 1)}


def test_every_sample_ended(told: dict[str, Any]) -> None:
    states = {row["state"] for row in told["ledger"]}
    assert "trained" in states
    assert "pending" not in states
    assert CASES["recovery"].versions > told["versions"] == 1
