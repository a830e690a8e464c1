"""Open pages in a real browser: what comes is shown, a ClickHouse that dies is told, tabs rest."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.console import seed, serve

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.infra.console.app import application
from headrace.infra.console.live import Watcher
from tests.integration.clickhouse.server_process import Server
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from headrace.infra.embedded import Stack

pytestmark = pytest.mark.browser

LIVE = "console_live"
TABS = 8
WAIT_MS = 60_000
TURN = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""What a browser does to a tab that goes to the back or comes to the front; headless none does."""


@pytest.fixture
def fresh(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=LIVE))
    migrate.apply(client)
    yield client
    client.command(f"DROP DATABASE {LIVE}")
    client.close()


def add(client: ClickHouse, number: int) -> None:
    row: dict[str, Any] = {
        "project": "p", "rollout_id": f"r{number}", "attempt": "a", "version": 3, "policy": "q",
        "state": "closed", "complete": True, "log_last": number, "split": "train", "status": "ok",
    }  # fmt: skip
    client.insert_arrow("episodes", seed.table_of("episodes", [row]))


def test_a_new_episode_is_counted_at_once_and_moves_no_list(
    browser: Browser, fresh: ClickHouse
) -> None:
    from playwright.sync_api import expect

    add(fresh, 1)
    with serve.pages(fresh) as url:
        overview, listing = browser.new_page(), browser.new_page()
        overview.goto(url)
        listing.goto(f"{url}/episodes")
        shown = overview.locator(".stat dd").first
        expect(shown).to_have_text("1", timeout=60_000)
        listing.bring_to_front()
        add(fresh, 2)
        expect(listing.locator("#news")).to_have_text(re.compile("1 new"), timeout=60_000)
        assert listing.locator("tbody tr").count() == 1
        listing.locator("#news a").click()
        expect(listing.locator("tbody tr")).to_have_count(2)
        overview.bring_to_front()
        expect(shown).to_have_text("2", timeout=60_000)
        overview.close()
        listing.close()


def test_a_page_that_cannot_be_renewed_says_so_until_it_can(
    browser: Browser, fresh: ClickHouse
) -> None:
    from playwright.sync_api import expect

    add(fresh, 1)
    with serve.pages(fresh) as url:
        overview = browser.new_page()
        overview.goto(url)
        overview.route(f"{url}/", lambda asked: asked.fulfill(status=500, body="<h1>refused</h1>"))
        add(fresh, 2)
        banner, shown = overview.locator("#away"), overview.locator(".stat dd").first
        expect(banner).to_contain_text("refused", timeout=60_000)
        expect(shown).to_have_text(re.compile("[12]"))  # it may have looked before it was refused
        overview.unroute(f"{url}/")
        add(fresh, 3)
        expect(shown).to_have_text("3", timeout=60_000)
        expect(banner).to_be_hidden()
        overview.close()


def test_a_page_that_was_empty_shows_what_comes(browser: Browser, fresh: ClickHouse) -> None:
    from playwright.sync_api import expect

    with serve.pages(fresh) as url:
        overview = browser.new_page()
        overview.goto(url)
        expect(overview.locator(".notice strong")).to_have_text("No episode yet.")
        add(fresh, 1)
        expect(overview.locator(".stat dd").first).to_have_text("1", timeout=60_000)
        overview.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A ClickHouse of the test's own, to be killed."""
    server = Server(tmp_path / "clickhouse").start()
    yield server
    server.stop()


@pytest.mark.timeout(300)
def test_a_page_outlives_its_clickhouse_and_says_what_it_shows(
    browser: Browser, own: Server
) -> None:
    from playwright.sync_api import expect

    client = own.client()
    migrate.apply(client)
    add(client, 1)
    with serve.pages(client) as url:
        overview = browser.new_page()
        overview.goto(url)
        banner, shown = overview.locator("#away"), overview.locator(".stat dd").first
        expect(shown).to_have_text("1")
        own.end(signal.SIGKILL)
        expect(banner).to_contain_text("No answer since", timeout=WAIT_MS)
        expect(banner).to_contain_text("What is shown is from before.")
        expect(shown).to_have_text("1")
        other = browser.new_page()
        answer = other.goto(f"{url}/episodes")
        assert answer is not None
        assert answer.status == 503
        expect(other.locator("h1")).to_have_text("ClickHouse does not answer")
        own.start()
        expect(banner).to_be_hidden(timeout=WAIT_MS)
        add(client, 2)
        expect(shown).to_have_text("2", timeout=WAIT_MS)
        overview.close()
        other.close()
    client.close()


def test_eight_tabs_work_and_those_at_the_back_close_their_streams(
    browser: Browser, fresh: ClickHouse
) -> None:
    from playwright.sync_api import expect

    add(fresh, 1)
    app = application(fresh)
    watcher: Watcher = app.state.watcher
    with serve.served(app) as url:
        window = browser.new_context()  # its tabs share six connections
        tabs: list[Page] = []
        for _ in range(TABS):
            if tabs:
                tabs[-1].evaluate(TURN, True)
            tabs.append(window.new_page())
            tabs[-1].goto(url)
            expect(tabs[-1].locator(".stat dd").first).to_have_text("1")
        wait_until(lambda: watcher.streams == 1, lambda: f"one stream, not {watcher.streams}")
        add(fresh, 2)
        expect(tabs[-1].locator(".stat dd").first).to_have_text("2", timeout=WAIT_MS)
        assert tabs[0].locator(".stat dd").first.text_content() == "1"
        tabs[-1].evaluate(TURN, True)
        wait_until(lambda: watcher.streams == 0, lambda: f"no stream, not {watcher.streams}")
        tabs[0].evaluate(TURN, False)
        expect(tabs[0].locator(".stat dd").first).to_have_text("2", timeout=WAIT_MS)
        window.close()
