"""Which tests share a set of real parts, where each set lives, and which worker runs what.

The tests on the `stack` fixture wait more than they compute: for processes that start, for leases
that end. So they are two groups, each with a stack of its own on a worker of its own, and there
are as many workers more than cores.
"""

import os
from pathlib import Path

import pytest

STACKS = ("stack-of-integration", "stack-of-the-rest")
REAL_PARTS = ("integration", "e2e")


def uses_the_stack(item: pytest.Item) -> bool:
    """Whether a test asks for the `stack` fixture, itself or through another one."""
    return "stack" in getattr(item, "fixturenames", ())


def group_of(item: pytest.Item, folder: str) -> str:
    """What goes to one worker as a whole: the tests of one stack, or another file."""
    if uses_the_stack(item):
        return STACKS[folder != "integration"]
    return item.path.stem


def distribute(items: list[pytest.Item], tests: Path) -> None:
    """Give each test its group, and begin with what waits longest.

    The stacks come first, then the files that start parts of their own.
    """

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(tests).parts[0]
        return 0 if uses_the_stack(item) else 1 if folder in REAL_PARTS else 2

    for item in items:
        group = group_of(item, item.path.relative_to(tests).parts[0])
        item.add_marker(pytest.mark.xdist_group(group))
        if item.config.getoption("loadgroup", default=False):
            # xdist 3.8 writes the group into the test's id for its scheduler, but to where
            # pytest 9.2 has it no longer (pytest-xdist issue 1386).
            item._id = type(item._id).parse(f"{item.nodeid}@{group}")
    items.sort(key=place)


def workers() -> int:
    """How many workers keep this machine's cores busy."""
    return len(os.sched_getaffinity(0)) + len(STACKS)


def claim(run: Path, worker: str) -> Path:
    """Make a worker's stack folder in the folder that all workers of a run share.

    Fails the test if there are stacks enough already.
    """
    there = sorted(folder.name for folder in run.glob("stack-*"))
    if len(there) >= len(STACKS):
        pytest.fail(
            f"this run has started its real parts already, in {run}: {', '.join(there)}; the tests "
            "of one stack belong to one worker (--dist loadgroup, as pyproject.toml has it), and "
            "that worker must not have died"
        )
    directory = run / f"stack-{worker}"
    directory.mkdir()
    return directory
