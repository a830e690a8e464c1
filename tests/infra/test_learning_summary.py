"""What the learning benchmark makes of its runs, on numbers that can be checked by hand."""

import argparse
import math
from pathlib import Path
from typing import Any

import pytest
from benchmarks.learning.report import draw, markdown
from benchmarks.learning.summary import against, curves, gain, mean, share
from benchmarks.learning.wanted import EVERYTHING, Wanted, demo_name, wanted

from headrace.infra.demo import CASES


def run_of(settings: str, seed: int, after: list[int], reward: float = 0.5) -> dict[str, Any]:
    return {
        "demo": "recovery",
        "settings": settings,
        "seed": seed,
        "seconds": 90,
        "versions": 2,
        "before": [0, 0, 0, 1],
        "after": after,
        "better": sum(after[:3]),
        "worse": int(not after[3]),
        "p": 0.5,
        "interval": [-0.25, 0.5],
        "unended": [0, int(seed == 2)],
        "curve": [{"version": 0, "reward": 0.25}, {"version": 1, "reward": reward}],
        "signals": [
            {"split": "eval", "version": 0, "signal": "stuck_loops", "share": 0.75},
            {"split": "train", "version": 2, "signal": "stuck_loops", "share": 0.5},
        ],
        "ledger": [],
    }


RUNS = [
    run_of("settings.toml", 1, [1, 1, 0, 1], 0.5),
    run_of("plain.toml", 1, [1, 0, 0, 0]),
    run_of("settings.toml", 2, [1, 1, 1, 1], 0.7),
]


def test_a_mean_over_seeds_has_the_interval_of_student() -> None:
    found = mean([0.1, 0.2, 0.3])
    assert found.value == pytest.approx(0.2)
    assert found.half == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert mean([0.4]).half == math.inf


def test_curves_are_means_over_the_seeds_of_a_version() -> None:
    found = curves([RUNS[0], RUNS[2]])
    assert [(version, round(one.value, 9)) for version, one in found] == [(0, 0.25), (1, 0.6)]


def test_signals_are_told_of_the_held_out_episodes_alone() -> None:
    assert [share(RUNS[0], "stuck_loops", version) for version in (0, 2)] == [0.75, 0.0]


def test_two_settings_are_compared_on_the_same_questions_of_one_seed() -> None:
    ((one, other, test),) = against(RUNS)
    assert (one["settings"], other["settings"]) == ("settings.toml", "plain.toml")
    assert (test.better, test.worse, test.p_value) == (2, 0, 0.25)
    assert gain(one) == 0.5


def test_the_page_and_the_plot_tell_each_run(tmp_path: Path) -> None:
    about = dict.fromkeys(("date", "cores", "processor", "load_before", "python"), "x")
    page = markdown(
        {"about": about, "packages": {"torch": "2"}, "runs": RUNS, "left_out": {"retrieval": "no"}}
    )
    for line in (
        "| recovery | 1 | 2 | 4 | 0.25 | 0.75 | 2 | 0 | 0.5 | +0.50 (-0.25 to +0.50) "
        "| 0.75 → 0.00 | 2 |",
        "| recovery | 2 | 0.25 | 0.88 | +0.62 ± 1.59 |",
        "| recovery, plain.toml | 1 | 0.25 | 0.25 | +0.00 (one seed) |",
        "`retrieval` was not run: no",
        "recovery, seed 2: 1 answers count as wrong since the agent failed or was too slow.",
    ):
        assert line in page.splitlines()
    assert any(line.startswith("| recovery | recovery, plain.toml | 1 | 2 | 0 | 0.25 ")
               for line in page.splitlines())  # fmt: skip
    draw(tmp_path / "learning.png", RUNS)
    assert (tmp_path / "learning.png").stat().st_size > 0


def test_runs_come_seed_by_seed_and_a_demo_may_have_other_settings() -> None:
    runs = wanted(["calculator", "recovery:plain.toml"], 2)
    assert [(one.what, one.seed) for one in runs] == [
        ("calculator", 1),
        ("recovery:plain.toml", 1),
        ("calculator", 2),
        ("recovery:plain.toml", 2),
    ]
    assert [one.what for one in wanted([], 1)] == list(EVERYTHING)
    for what in EVERYTHING:
        name, _, settings = demo_name(what).partition(":")
        one = Wanted(name=name, settings=settings or "settings.toml", seed=1)
        assert CASES[one.name].settings(one.settings)["credit"]["rule"]
    with pytest.raises(argparse.ArgumentTypeError, match="calculator"):
        demo_name("chess")
