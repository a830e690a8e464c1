"""`headrace bench` runs the repository's benchmarks, and says which there are."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.infra.cli import bench
from headrace.infra.cli.app import WRONG_USE, app


def test_the_benchmarks_are_listed() -> None:
    result = CliRunner().invoke(app, ["bench"])
    assert result.exit_code == 0
    assert result.stdout.startswith("headrace bench NAME: ")
    for name in ("gateway", "replay", "transitions"):
        assert name in result.stdout


def test_another_name_is_told_with_those_that_there_are() -> None:
    result = CliRunner().invoke(app, ["bench", "nothing"])
    assert result.exit_code == WRONG_USE
    assert "there is no benchmark 'nothing': give one of" in result.stderr


def test_outside_a_checkout_it_says_where_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "CHECKOUT", tmp_path)
    result = CliRunner().invoke(app, ["bench", "gateway"])
    assert result.exit_code == WRONG_USE
    assert "clone it" in result.stderr


def test_a_benchmark_gets_its_options_and_its_exit_code_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "headrace.infra.cli", "bench", "gateway"]
    short = ["--seconds", "0.2", "--connections", "1", "--spans", "dropped", "--tokens", "3"]
    done = subprocess.run(
        [*command, *short, "--dry"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| dropped |") == 2
    wrong = subprocess.run([*command, "--tokens", "many"], capture_output=True, check=False)
    assert wrong.returncode == 2
