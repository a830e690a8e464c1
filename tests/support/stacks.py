"""Which tests share a set of real parts, where each set lives, and which worker runs what.

The tests on the `stack` fixture wait more than they compute: for processes that start, for leases
that end. So they are two groups, each with a stack of its own on a worker of its own, and there
are as many workers more than cores.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

STACKS = ("first-stack", "second-stack")
SECURED = "secured"
"""The fixture whose parts ask for credentials; its tests are a group, too."""
REAL_PARTS = ("integration", "e2e")
TOGETHER = ("frameworks",)
"""Folders whose files share more than a stack: they go to one."""
_GIVING_WAY = 10
"""Niceness; about a ninth of the share of a process that does not give way."""


def uses_the_stack(item: pytest.Item) -> bool:
    """Whether a test asks for the `stack` fixture, itself or through another one."""
    return "stack" in getattr(item, "fixturenames", ())


def uses_the_secured(item: pytest.Item) -> bool:
    """Whether a test asks for the `secured` fixture, itself or through another one."""
    return SECURED in getattr(item, "fixturenames", ())


def distribute(items: list[pytest.Item], tests: Path) -> None:
    """Give each test its group, and begin with what waits longest.

    The stacks come first, then the files that start parts of their own, each a group.
    """
    stacks = share(Counter(_whole(item, tests) for item in items if uses_the_stack(item)))
    for item in items:
        alone = SECURED if uses_the_secured(item) else item.path.stem
        group = stacks[_whole(item, tests)] if uses_the_stack(item) else alone
        item.add_marker(pytest.mark.xdist_group(group))
        if item.config.getoption("loadgroup", default=False):
            # xdist 3.8 writes the group into the test's id for its scheduler, but to where
            # pytest 9.2 has it no longer (pytest-xdist issue 1386).
            item._id = type(item._id).parse(f"{item.nodeid}@{group}")
    items.sort(key=lambda item: (only_computes(item, tests), not uses_the_stack(item)))


def only_computes(item: pytest.Item, tests: Path) -> bool:
    """Whether a test needs no real parts, of its own or others'."""
    folder = item.path.relative_to(tests).parts[0]
    return not (uses_the_stack(item) or uses_the_secured(item) or folder in REAL_PARTS)


def give_way() -> None:
    """Let this process, and what it starts, compute when the others leave a core free.

    Those with real parts wait for answers: they are what a run takes longest for.
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(_GIVING_WAY, os.getpriority(os.PRIO_PROCESS, 0)))


def share(counts: Mapping[str, int]) -> dict[str, str]:
    """The stack of each file or folder: each has about as many tests. Alike in every worker."""
    loads = dict.fromkeys(STACKS, 0)
    found = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        found[name] = min(STACKS, key=lambda stack: loads[stack])
        loads[found[name]] += counts[name]
    return found


def _whole(item: pytest.Item, tests: Path) -> str:
    """What of the tests is not divided: a file, or a folder whose files belong together."""
    path = item.path.relative_to(tests)
    return path.parts[0] if path.parts[0] in TOGETHER else path.as_posix()


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
