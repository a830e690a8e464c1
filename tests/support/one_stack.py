"""Which tests share the one set of real parts of a run, and the place where it lives."""

from pathlib import Path

import pytest

GROUP = "stack"


def uses_the_stack(item: pytest.Item) -> bool:
    """Whether a test asks for the `stack` fixture, itself or through another one."""
    return "stack" in getattr(item, "fixturenames", ())


def distribute(items: list[pytest.Item]) -> None:
    """Send all tests on the stack to one worker, and each other file whole to one.

    The stack's come first: they take longest, and wait more than they compute.
    """
    for item in items:
        group = GROUP if uses_the_stack(item) else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
        if item.config.getoption("loadgroup", default=False):
            # xdist 3.8 writes the group into the test's id for its scheduler, but to where
            # pytest 9.2 has it no longer (pytest-xdist issue 1386).
            item._id = type(item._id).parse(f"{item.nodeid}@{group}")
    items.sort(key=lambda item: not uses_the_stack(item))


def claim(run: Path) -> Path:
    """Make the stack's folder in the folder that all workers of a run share.

    Fails the test if the run has started a stack already.
    """
    directory = run / "stack"
    try:
        directory.mkdir()
    except FileExistsError:
        pytest.fail(
            f"this run has started its real parts already, in {directory}: the tests that use "
            "them belong to one worker (--dist loadgroup, as pyproject.toml has it), and that "
            "worker must not have died"
        )
    return directory
