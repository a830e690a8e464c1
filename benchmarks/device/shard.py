"""A pytest plugin: every n-th test alone, and a line for each as it ends."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

SHARD, LINES = "HEADRACE_DEVICE_SHARD", "HEADRACE_DEVICE_LINES"


class Outcome(NamedTuple):
    """Of one test."""

    test: str
    state: str
    message: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep this shard's: neighbours go to different shards, so that each has of every kind."""
    number, _, count = os.environ.get(SHARD, "0/1").partition("/")
    items[:] = items[int(number) :: int(count)]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write down how a test ended."""
    if report.when != "call" and report.passed:
        return
    message = str(report.longrepr).strip().split("\n")[-1][:300] if report.failed else ""
    with Path(os.environ[LINES]).open("a") as lines:
        lines.write(json.dumps(Outcome(report.nodeid, report.outcome, message)) + "\n")


def outcomes(file: Path) -> list[Outcome]:
    """What a shard has written so far."""
    if not file.exists():
        return []
    return [Outcome(*json.loads(line)) for line in file.read_text().split("\n")[:-1]]
