"""The real parts of a run are started once, whatever the number of workers."""

from pathlib import Path

import pytest

from tests.support.one_stack import GROUP, claim, uses_the_stack


def test_a_second_stack_in_a_run_is_refused(tmp_path: Path) -> None:
    assert claim(tmp_path).is_dir()
    with pytest.raises(pytest.fail.Exception, match="has started its real parts already"):
        claim(tmp_path)


def test_those_on_the_stack_go_to_one_worker_and_every_other_file_to_one(
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
            assert mark.args == (GROUP,), item.nodeid
        else:
            places.setdefault(item.path, set()).add(mark.args[0])
    assert all(len(groups) == 1 for groups in places.values())
    everywhere = [group for groups in places.values() for group in groups]
    assert len(set(everywhere)) == len(everywhere), "files of one name share a worker"
    assert GROUP not in everywhere
