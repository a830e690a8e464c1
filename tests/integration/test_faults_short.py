"""A short fault run: some parts are killed under load, and nothing is lost or doubled.

`make faults` is the long one. A failure names seed and folder: the deeds stand in `faults.jsonl`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED, KILLS = 7, 5


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_while_parts_are_killed(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.faults.run",
            "--seed", str(SEED), "--kills", str(KILLS), "--producers", "2",
            "--directory", str(tmp_path), "--dry",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-6000:]}{done.stderr[-3000:]} ({tmp_path})"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["clean"]
    assert sum(report["faults"]["kill"].values()) == KILLS
    assert report["audit"]["counts"]["producers"]["missing"] == 0
    ledgers = report["ledgers"]
    assert ledgers["acknowledged"] > 100, "too little happened for a test of anything"
    assert ledgers["whole_attempts"] > 0
    assert ledgers["lost"] == ledgers["doubled"] == ledgers["made_up"] == 0
