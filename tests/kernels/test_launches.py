"""Every launch that the host's code makes compiles as it is made, with no device to make it on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kernels.compile_ahead import TOOLS

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(
        not (TOOLS / "cuobjdump").exists(), reason="this build of Triton comes without cuobjdump"
    ),
]
KERNELS = {
    *("linear_kernel", "strip_kernel", "offset_kernel", "combine_kernel", "fix_kernel"),
    *("bonus_kernel", "target_kernel", "scale_kernel", "scatter_kernel", "times_kernel"),
    *("row_kernel", "stats_kernel", "gradient_kernel", "slopes_kernel", "sums_kernel"),
    *("segments_kernel", "_ends_kernel", "_tiles_kernel", "_carry_kernel", "_rows_kernel"),
}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.kernels.launch_without_gpu"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    out: dict[str, Any] = json.loads(run.stdout)
    return out


def test_every_kernel_was_launched_with_programs(found: dict[str, Any]) -> None:
    assert set(found["grids"]) == KERNELS
    for grids in found["grids"].values():
        # Beyond the first axis a device takes 65,535 programs: rows and tiles are on the first.
        assert all(0 < x < 2**31 and 0 < y <= 64 and z == 1 for x, y, z in grids), grids


def test_nothing_that_is_launched_spills(found: dict[str, Any]) -> None:
    assert len(found["binaries"]) > len(KERNELS)
    assert not [binary for binary in found["binaries"] if binary["local"]]


def test_bulk_copies_ask_for_what_the_device_can_do(found: dict[str, Any]) -> None:
    """Boxes of at most 256 a side, rows of at most the 128 bytes of the widest swizzle."""
    assert found["boxes"]
    for box in found["boxes"]:
        assert max(box["block_size"]) <= 256, box
        assert box["block_size"][-1] * box["elem_size"] <= 16 << box["swizzle"], box
