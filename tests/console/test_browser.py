"""The pages in a real browser: nothing it complains of, nothing foreign, readable by everybody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.console import serve

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.app import LISTS
from headrace.infra.console.keys import Door, KeyFile
from headrace.infra.console.roles import Role
from tests.console.conftest import addresses_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 375, "height": 800}},
}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What a look changes; the rest of the rules read the same page in each.
ASKED = {
    "light": WCAG,
    "dark": ["color-contrast"],
    "narrow": ["target-size", "scrollable-region-focusable"],
}


def opened(browser: Browser, look: str, complaints: list[str], url: str) -> Page:
    """A tab that notes what it complains of and whom it asks."""
    tab = browser.new_page(**LOOKS[look])  # type: ignore[arg-type]  # of several types
    tab.on("console", lambda said: complaints.append(said.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "request",
        lambda asked: None if asked.url.startswith(url) else complaints.append(asked.url),
    )
    return tab


@pytest.mark.timeout(900)  # axe reads every page
@pytest.mark.parametrize("look", LOOKS)
def test_no_page_makes_the_browser_complain_or_shuts_anybody_out(
    browser: Browser, seeded: ClickHouse, seeded_url: str, look: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    complaints: list[str] = []
    tab = opened(browser, look, complaints, seeded_url)
    for path in [*(f"/{name}" for name in LISTS), *addresses_of(seeded)]:
        answer = tab.goto(seeded_url + path)
        assert answer is not None
        assert answer.status == 200
        asked = {"runOnly": ASKED[look], "resultTypes": ["violations"]}
        found: dict[str, Any] = Axe().run(tab, options=asked).response
        complaints += [
            f"{path}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]
        ]
        wide = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} pixels wider than the window"
    tab.close()
    assert complaints == []


@pytest.mark.parametrize("look", LOOKS)
def test_a_person_logs_in_and_out(
    browser: Browser, seeded: ClickHouse, tmp_path: Path, look: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect

    file = KeyFile(tmp_path / "keys.json")
    key = file.add("ann", Role.VIEWER)
    complaints: list[str] = []
    with serve.pages(seeded, door=Door(file, is_open=True)) as url:
        tab = opened(browser, look, complaints, url)
        tab.goto(f"{url}/groups?policy=support")
        expect(tab).to_have_title("Log in · headrace")
        found = Axe().run(tab, options={"runOnly": ASKED[look], "resultTypes": ["violations"]})
        assert found.response["violations"] == []
        tab.locator("#key").fill(key)
        tab.locator("#key").press("Enter")
        expect(tab).to_have_url(f"{url}/groups?policy=support")
        expect(tab.locator("tbody tr").first).to_be_visible()
        tab.locator("button", has_text="Log out").click()
        expect(tab).to_have_title("Log in · headrace")
        tab.goto(f"{url}/groups")
        expect(tab).to_have_title("Log in · headrace")
        tab.close()
    assert complaints == []


def test_keys_go_from_row_to_row(browser: Browser, seeded_url: str) -> None:
    from playwright.sync_api import expect

    tab = browser.new_page()
    tab.goto(f"{seeded_url}/episodes")
    rows = tab.locator("[data-list] tbody tr")
    for key, place in (("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)):
        tab.keyboard.press(key)
        expect(rows.nth(place).locator("a").first).to_be_focused()
    tab.close()


def test_arrow_keys_go_from_token_to_token_and_tell_what_is_known_of_each(
    browser: Browser, seeded: ClickHouse, seeded_url: str
) -> None:
    from playwright.sync_api import expect

    tab = browser.new_page()
    (episode,) = (path for path in addresses_of(seeded) if path.startswith("/episodes/"))
    tab.goto(seeded_url + episode)
    tokens, known = tab.locator(".tokens").first, tab.locator(".about").first
    tokens.focus()
    every = tokens.locator("span")
    for key, place in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 0)):
        tab.keyboard.press(key)
        expect(known).to_have_text(str(every.nth(place).get_attribute("title")))
    tab.keyboard.press("End")
    expect(every.last).to_have_class(re.compile(r"\bat\b"))
    every.nth(2).click()
    expect(known).to_have_text(str(every.nth(2).get_attribute("title")))
    tab.close()


def test_the_pad_runs_by_a_key_and_keeps_what_was_typed(browser: Browser, seeded_url: str) -> None:
    from playwright.sync_api import expect

    tab = browser.new_page()
    tab.goto(f"{seeded_url}/sql?name=trained_as_of")
    expect(tab.locator("#sql-answer")).to_have_count(0)
    tab.locator("textarea").press("Control+Enter")
    expect(tab.locator("#sql-answer")).to_have_count(1)
    typed = "SELECT\n  lengthUTF8('a\u202eb\u200bc') AS n"
    tab.goto(f"{seeded_url}/sql")
    tab.locator("textarea").fill(typed)
    for _ in range(2):
        tab.locator("button[name=run]").click()
        expect(tab.locator("textarea")).to_have_value(typed)
        expect(tab.locator(".pad td")).to_have_text("5")
    tab.close()
