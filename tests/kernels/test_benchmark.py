"""The benchmark's parts that need no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.kernels import providers

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: it would be timed")
def test_without_a_gpu_nothing_is_timed_and_it_says_so() -> None:
    before = sorted((ROOT / "benchmarks" / "results").iterdir())
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernels.run"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "no CUDA device" in run.stderr
    assert sorted((ROOT / "benchmarks" / "results").iterdir()) == before


def test_every_absent_peer_says_why() -> None:
    reasons = {}
    for name, make in providers.PROVIDERS.items():
        try:
            make()
        except providers.Absent as error:
            reasons[name] = str(error)
    assert all(reasons.values())
    assert not [name for name in reasons if name.startswith("headrace")]
