"""A browser, and pages over seeded tables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from benchmarks.console import seed, serve

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.infra.console.app import ITEMS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from headrace.infra.embedded import Stack

SEEDED = "console_seeded"
EPISODES = 400


@pytest.fixture(scope="session")
def seeded(stack: Stack) -> Iterator[ClickHouse]:
    """Tables of some hundred episodes, two policies and their versions. Only to be read."""
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=SEEDED))
    migrate.apply(client)
    seed.fill(client, EPISODES)
    yield client
    client.command(f"DROP DATABASE {SEEDED}")
    client.close()


@pytest.fixture(scope="session")
def seeded_url(seeded: ClickHouse) -> Iterator[str]:
    """A console over them."""
    with serve.pages(seeded) as url:
        yield url


def addresses_of(client: ClickHouse) -> list[str]:
    """An address of each page of one thing."""
    (one,) = client.query(
        "SELECT project, rollout_id AS rollout, attempt, group_id AS group, policy, version_max AS "
        "version FROM episodes FINAL WHERE policy = 'support' ORDER BY log_last DESC LIMIT 1"
    )
    (call,) = client.query(
        "SELECT span_id AS span FROM spans FINAL WHERE rollout_id = {rollout:String} "
        "AND kind = 'call' LIMIT 1",
        {"rollout": one["rollout"]},
    )
    paths = {path: path.replace(":path}", "}").replace(":int}", "}") for path in ITEMS}
    return [
        plain.format(**one, **call, part="output" if "{span}" in path else "task")
        for path, plain in paths.items()
    ]


@pytest.fixture(scope="module")  # its event loop stands in the way of others
def browser() -> Iterator[Browser]:
    """The system's Chromium; without one a test is skipped, but not where .ci/run has found it."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("HEADRACE_TEST_BROWSER") == "required":
            pytest.fail("no Chromium, which .ci/run has found")
        pytest.skip("no Chromium on this machine: `apt-get install chromium`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()
