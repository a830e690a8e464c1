"""The gateway's benchmark asks a real gateway, whole and streamed, and counts what it answers."""

import pytest
from benchmarks.gateway.run import main


def test_the_benchmark_runs_and_writes_nothing_when_dry(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--seconds", "0.3", "--connections", "2", "--spans", "dropped", "--tokens", "5"]
    assert main([*short, "--dry"]) == 0
    printed = capsys.readouterr().out
    rows = [line.split("|") for line in printed.splitlines() if line.startswith("| dropped")]
    assert [row[2].strip() for row in rows] == ["whole", "streamed"]
    assert all(float(row[4].replace(",", "")) > 0 for row in rows)
    assert "wrote" not in printed
