"""What a browser makes of pages: when they are usable, how large, and how soon they tell news."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.console import seed

from headrace.connectors.clickhouse import ClickHouse

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIRST = ".stat dd"
_LAID_OUT = """since => Math.max(
  ...performance.getEntriesByType("paint").map((one) => one.startTime),
  performance.getEntriesByType("navigation")[0].loadEventEnd) - since"""
_WATCH = """() => {
  const counted = () => Number(document.querySelector(".stat dd")?.textContent.replace(/\\D/g, ""));
  window.seen = [];
  const note = () => {
    const last = window.seen.at(-1);
    if (!last || last[1] !== counted()) window.seen.push([Date.now(), counted()]);
  };
  note();
  new MutationObserver(note).observe(document.body,
    { childList: true, subtree: true, characterData: true });
}"""


def usable(browser: "Browser", url: str) -> tuple[float, int]:
    """Milliseconds until a page is read and laid out, and how many elements it has."""
    tab = browser.new_page()
    try:
        tab.goto(url)
        return float(tab.evaluate(_LAID_OUT, 0)), int(
            tab.evaluate("document.querySelectorAll('*').length")
        )
    finally:
        tab.close()


def drawn(browser: "Browser", url: str) -> float:
    """Milliseconds from a page's first byte until it is laid out: the browser's own work."""
    tab = browser.new_page()
    try:
        tab.goto(url)
        first = tab.evaluate("performance.getEntriesByType('navigation')[0].responseStart")
        return float(tab.evaluate(_LAID_OUT, first))
    finally:
        tab.close()


def delays(
    browser: "Browser", url: str, client: ClickHouse, *, pages: int, rate: float, seconds: float
) -> list[float]:
    """Seconds from an episode's row in ClickHouse to the figure that counts it, on a page each.

    `pages` of the overview are open while rows come at `rate` a second.
    """
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(pages)]
    try:
        for tab in tabs:
            tab.goto(url)
            tab.evaluate(_WATCH)
        time.sleep(2)
        begun = _shown(tabs[0])
        written = _written(client, rate, seconds, lambda: tabs[0].wait_for_timeout(1))
        for tab in tabs:
            tab.wait_for_timeout(3_000 / pages)
        return [late for tab in tabs for late in _late(tab.evaluate("window.seen"), begun, written)]
    finally:
        context.close()


def _shown(tab: "Page") -> int:
    return int(tab.evaluate("window.seen.at(-1)[1]"))


def _written(
    client: ClickHouse, rate: float, seconds: float, breathe: Callable[[], None]
) -> list[float]:
    """Unix time at which each row was in."""
    written, began = [], time.monotonic()
    for number in range(int(rate * seconds)):
        while time.monotonic() < began + number / rate:
            breathe()
        row: dict[str, Any] = {
            "project": "default", "rollout_id": f"new{number}", "attempt": "a", "version": 3,
            "state": "closed", "complete": True, "policy": "calculator", "split": "train",
            "status": "ok", "log_first": seed.BEGAN, "log_last": seed.BEGAN + number,
        }  # fmt: skip
        client.insert_arrow("episodes", seed.table_of("episodes", [row]))
        written.append(time.time())
    return written


def _late(seen: list[tuple[float, int]], begun: int, written: list[float]) -> list[float]:
    """For each row the time until a figure that counts it was there; what was never seen is as
    late as the last look."""
    late = []
    for number, at in enumerate(written, begun + 1):
        when = next((ms / 1000 for ms, count in seen if count >= number), seen[-1][0] / 1000 + 3)
        late.append(max(0.0, when - at))
    return late
