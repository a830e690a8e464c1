"""A disk that can be filled: for what runs on it, and for nobody else."""

import subprocess
from pathlib import Path

import pytest
from benchmarks.faults.small_disk import SmallDisk, small_disks_are_possible

pytestmark = pytest.mark.skipif(
    not small_disks_are_possible(), reason="this machine lends no namespaces"
)
MIB = 1 << 20


def written(disk: SmallDisk, file: Path, mebibytes: int) -> subprocess.CompletedProcess[str]:
    command = ["dd", "if=/dev/zero", f"of={file}", "bs=1M", f"count={mebibytes}"]
    return subprocess.run(disk.command(command), capture_output=True, text=True, check=False)


def test_it_is_full_and_has_room_again(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 8 * MIB) as disk:
        assert written(disk, tmp_path / "disk" / "first", 2).returncode == 0
        assert 5 * MIB < disk.fill() <= 6 * MIB
        refused = written(disk, tmp_path / "disk" / "second", 1)
        assert (refused.returncode, "No space left" in refused.stderr) == (1, True)
        disk.free()
        assert written(disk, tmp_path / "disk" / "second", 1).returncode == 0
    assert list((tmp_path / "disk").iterdir()) == [], "outside there is an empty folder"


def test_what_runs_on_it_runs_where_it_was_started(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", MIB) as disk:
        told = subprocess.run(disk.command(["pwd"]), capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(Path.cwd())
