"""A thumb at the page of an episode, through the real gateway and stages, in a browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benchmarks.console import serve

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.sdk import SdkConfig, Telemetry
from headrace.infra.console.gateway import Gateway
from headrace.infra.embedded import probe
from headrace.infra.embedded.models import tiny_llama
from headrace.infra.embedded.ports import free_port
from headrace.schemas import new_ulid
from tests.integration.test_feedback_revises import STAGES, Workers, attempt, credited
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from headrace.infra.embedded import Stack

pytestmark = pytest.mark.browser

DATABASE = "console_thumbs"
ON_RECORD = "SELECT 1 AS known FROM episodes WHERE rollout_id = {rollout:String} LIMIT 1"


@pytest.fixture
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    yield client
    client.close()


@pytest.fixture
def workers(stack: Stack, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(stack, tmp_path)
    made.environment |= {"HEADRACE_CLICKHOUSE_DATABASE": DATABASE}
    yield made
    made.kill(*made.processes)


@pytest.fixture
def gateway_url(workers: Workers, tmp_path: Path) -> Iterator[str]:
    """A gateway beside the stages."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {
        **workers.environment,
        "HEADRACE_GATEWAY_PORT": str(port),
        "HEADRACE_GATEWAY_THREADS": "1",
        "HEADRACE_GATEWAY_SERVE_BASE": "true",
        "HEADRACE_POLICY_NAME": "console-thumbs",
        "HEADRACE_SPOOL_DIRECTORY": str(tmp_path / "spool"),
    }
    model = tiny_llama(tmp_path / "model", seed=0)
    command = [sys.executable, "-m", "headrace.connectors.gateway", "--model-directory", str(model)]
    log = tmp_path / "gateway.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        return probe.get(f"{url}/healthz") is not None

    wait_until(answers, lambda: f"the gateway; its log: {log.read_text()}", 120)
    yield url
    process.kill()
    process.wait()


@pytest.mark.timeout(600)
def test_a_thumb_counts_once_and_its_credit_is_shown_when_it_is_there(
    stack: Stack, clickhouse: ClickHouse, workers: Workers, gateway_url: str, browser: Browser
) -> None:
    from playwright.sync_api import expect

    first, second = group = [new_ulid(), new_ulid()]
    telemetry = Telemetry(SdkConfig(bootstrap=stack.bootstrap, registry_url=stack.registry_url))
    attempt(telemetry, first, group, 1.0)
    attempt(telemetry, second, group, 0.0)
    telemetry.close()
    workers.start(*STAGES)
    wait_until(lambda: len(credited(clickhouse, first)) == len(group), "the group's credit")
    with serve.pages(clickhouse, gateway=Gateway(gateway_url, lambda _: "")) as url:
        tab = browser.new_page()
        # The page would be 404 until there is a row, which follows the credit.
        wait_until(lambda: bool(clickhouse.query(ON_RECORD, {"rollout": first})), "its row")
        tab.goto(f"{url}/episodes/default/{first}/a")
        expect(tab.locator(".stat", has_text="Reward")).to_contain_text("1.000", timeout=60_000)
        tab.locator("button", has_text="Thumbs down").dblclick(no_wait_after=True)
        notice = tab.locator("#feedback .notice")
        expect(notice).to_contain_text("is part of the credit", timeout=120_000)
        expect(notice).to_contain_text("reward -1.000")
        expect(tab.locator(".stat", has_text="Reward")).to_contain_text("-1.000")
        tab.close()
    given = clickhouse.query(
        "SELECT reward_name AS name, reward_value AS value FROM spans FINAL WHERE kind = 'reward' "
        "AND rollout_id = {rollout:String} AND reward_source = 'console'",
        {"rollout": first},
    )
    assert given == [{"name": "thumbs", "value": -1.0}]
    assert credited(clickhouse, first) == {first: (-1.0, -1.0), second: (0.0, 1.0)}
