"""Every kernel compiles for the GPUs it is written for, with none of them here: no spills, the
matrix instructions that make it fast, and shared memory that fits."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interpreter

ROOT = Path(__file__).parents[2]
# Bytes of shared memory that a program may have (CUDA C++ Programming Guide, compute capabilities).
SHARED_LIMIT = {90: 227 << 10, 80: 163 << 10}


def _compiler_is_there() -> bool:
    spec = importlib.util.find_spec("triton")
    if spec is None or spec.origin is None:
        return False
    return (Path(spec.origin).parent / "backends" / "nvidia" / "bin" / "ptxas").exists()


needs_compiler = pytest.mark.skipif(
    not _compiler_is_there(), reason="this build of Triton comes without ptxas"
)


@pytest.fixture(scope="module")
def reports() -> list[dict[str, Any]]:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_ahead", "90", "80"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


@needs_compiler
def test_no_kernel_spills_registers(reports: list[dict[str, Any]]) -> None:
    assert {report["arch"] for report in reports} == {90, 80}
    spilling = [report for report in reports if report["spills"]]
    assert not spilling


@needs_compiler
def test_shared_memory_fits(reports: list[dict[str, Any]]) -> None:
    assert all(report["shared"] <= SHARED_LIMIT[report["arch"]] for report in reports)


@needs_compiler
def test_the_matrix_product_uses_hoppers_instructions(reports: list[dict[str, Any]]) -> None:
    """Asynchronous warp-group products fed by bulk tensor copies, stores by them too."""
    products = [report for report in reports if report["name"].startswith("linear")]
    assert len(products) == 8
    for report in products:
        assert report["wgmma"] > 0, report
        assert report["mma"] == 0, report
        loads_and_stores = 2 if "sums" in report["name"] else 3
        assert report["bulk_copies"] >= loads_and_stores, report


@needs_compiler
def test_two_programs_of_the_narrow_tile_share_a_multiprocessor(
    reports: list[dict[str, Any]],
) -> None:
    """64 Ki registers and 227 KiB of shared memory for two programs of 128 threads."""
    for report in reports:
        if report["name"].startswith("linear") and report["name"].endswith("128x128"):
            assert 2 * 128 * report["registers"] <= 64 << 10, report
            assert 2 * (report["shared"] + 1024) <= SHARED_LIMIT[90], report
