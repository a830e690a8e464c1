"""Who can read a data directory: its user."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.connectors.sdk.spool import open_spool
from headrace.infra.launch.private import OTHERS, keep_private
from headrace.infra.supervise import State
from tests.support.supervised import Lab


@pytest.fixture(autouse=True)
def _common_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(directory: Path) -> list[str]:
    found = [directory, *directory.rglob("*")]
    return [str(path) for path in found if not path.is_symlink() and path.stat().st_mode & OTHERS]


def test_a_new_directory_is_closed_and_so_is_what_comes_into_it(tmp_path: Path) -> None:
    data = tmp_path / "deep" / ".headrace"
    os.umask(OTHERS)
    keep_private(data)
    (data / "run").mkdir()
    (data / "run" / "beat.json").write_text("{}")
    subprocess.run([sys.executable, "-c", f"open({str(data / 'child')!r}, 'w')"], check=True)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert open_to_others(data) == []


def test_one_that_an_earlier_start_made_is_closed(tmp_path: Path) -> None:
    data = tmp_path / ".headrace"
    for folder in ("kafka/data/t-0", "clickhouse/store", "spool/work-0", "logs", "checkpoints/1"):
        (data / folder).mkdir(parents=True)
        (data / folder / "file").write_text("secret")
    (data / "status.json").write_text("{}")
    (data / "clickhouse" / "tool").write_text("#!")
    (data / "clickhouse" / "tool").chmod(0o755)
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    (data / "checkpoints" / "latest").symlink_to(outside)
    keep_private(data)
    assert open_to_others(data) == []
    assert stat.S_IMODE((data / "clickhouse" / "tool").stat().st_mode) == 0o700
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_a_folder_that_holds_more_keeps_the_rest_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    before = tmp_path.stat().st_mode
    keep_private(tmp_path)
    assert tmp_path.stat().st_mode == before
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "pyproject.toml").stat().st_mode) == 0o644


def test_parts_and_their_supervisor_write_for_their_user_alone(tmp_path: Path) -> None:
    data = tmp_path / ".headrace"
    keep_private(data)
    os.umask(OTHERS)  # as `headrace up` does
    lab = Lab(data)
    program = f"""
        import os, signal
        os.makedirs({str(data / "kafka" / "deep")!r})
        open({str(data / "kafka" / "deep" / "segment")!r}, "w").close()
        print("up", flush=True)
        signal.pause()
    """
    with lab.supervise(lab.part("kafka", program)):
        assert lab.state("kafka").state is State.READY
        assert open_to_others(data) == []
    assert open_to_others(data) == []


def test_a_spool_is_closed_whoever_makes_it(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    open_spool(directory, "01J", fsync=False).close()
    directory.mkdir(exist_ok=True)
    assert open_to_others(directory) == []


def test_a_part_s_files_are_private_whatever_its_supervisor_s_umask(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    program = f"""
        import signal
        open({str(tmp_path / "segment")!r}, "w").close()
        print("up", flush=True)
        signal.pause()
    """
    with lab.supervise(lab.part("kafka", program)):
        assert stat.S_IMODE((tmp_path / "segment").stat().st_mode) == 0o600
