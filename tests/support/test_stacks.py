"""The real parts of a run are started by two workers, whatever their number."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.stacks import STACKS, claim, uses_the_stack, workers


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


def test_those_on_a_stack_go_to_one_worker_and_every_other_file_to_one(
    request: pytest.FixtureRequest,
) -> None:
    places: dict[Path, set[str]] = {}
    distributed = request.config.getoption("loadgroup", default=False)
    for item in request.session.items:
        (mark,) = item.iter_markers("xdist_group")
        assert not distributed or item.nodeid.endswith(f"@{mark.args[0]}"), (
            "the scheduler will not know"
        )
        if uses_the_stack(item):
            assert mark.args == (STACKS["integration" not in item.path.parts],), item.nodeid
        else:
            places.setdefault(item.path, set()).add(mark.args[0])
    assert all(len(groups) == 1 for groups in places.values())
    everywhere = [group for groups in places.values() for group in groups]
    assert len(set(everywhere)) == len(everywhere), "files of one name share a worker"
    assert not set(STACKS) & set(everywhere)
