"""The real parts of a run are started by two workers, whatever their number."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.stacks import (
    SECURED,
    STACKS,
    TOGETHER,
    claim,
    only_computes,
    share,
    uses_the_secured,
    uses_the_stack,
    workers,
)

TESTS = Path(__file__).parents[1]


def test_a_third_stack_in_a_run_is_refused(tmp_path: Path) -> None:
    first, second = claim(tmp_path, "gw0"), claim(tmp_path, "gw2")
    assert first.is_dir()
    assert second.is_dir()
    assert first != second
    with pytest.raises(pytest.fail.Exception, match="has started its real parts already"):
        claim(tmp_path, "gw1")


def test_there_are_workers_for_the_cores_beside_those_that_wait_for_a_stack(
    request: pytest.FixtureRequest,
) -> None:
    asked = SimpleNamespace(getoption={"numprocesses": "auto"}.get)
    said = request.config.hook.pytest_xdist_auto_num_workers(config=asked)
    assert said == workers() == len(os.sched_getaffinity(0)) + len(STACKS)


def test_files_are_shared_so_that_each_stack_has_about_as_many_tests() -> None:
    given = share({"few": 1, "many": 5, "some": 3, "others": 3})
    assert given["many"] == given["few"]
    assert given["some"] == given["others"] != given["many"]
    assert set(given.values()) == set(STACKS)
    assert share({}) == {}


def test_what_waits_longest_begins_and_what_only_computes_comes_last(
    request: pytest.FixtureRequest,
) -> None:
    kinds = [
        2 if only_computes(item, TESTS) else 0 if uses_the_stack(item) else 1
        for item in request.session.items
    ]
    assert kinds == sorted(kinds)


def test_a_process_that_gives_way_goes_on_doing_so() -> None:
    niceness = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os; from tests.support.stacks import give_way; give_way(); give_way();"
            "print(os.getpriority(os.PRIO_PROCESS, 0))",
        ],
        check=True,
        capture_output=True,
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
    )
    assert int(niceness.stdout) >= 10


def test_no_file_is_divided_between_workers(request: pytest.FixtureRequest) -> None:
    places: dict[Path, set[str]] = {}
    distributed = request.config.getoption("loadgroup", default=False)
    for item in request.session.items:
        (mark,) = item.iter_markers("xdist_group")
        assert not distributed or item.nodeid.endswith(f"@{mark.args[0]}"), (
            "the scheduler will not know"
        )
        if uses_the_stack(item):
            assert mark.args[0] in STACKS, item.nodeid
            whole = item.path.parent if item.path.parent.name in TOGETHER else item.path
            places.setdefault(whole / "on a stack", set()).add(mark.args[0])
        elif uses_the_secured(item):
            assert mark.args == (SECURED,), item.nodeid
        else:
            places.setdefault(item.path, set()).add(mark.args[0])
    assert all(len(groups) == 1 for groups in places.values())
    others = [name for path, (name,) in places.items() if path.name != "on a stack"]
    assert len(set(others)) == len(others), "files of one name share a worker"
    assert not {*STACKS, SECURED} & set(others)
