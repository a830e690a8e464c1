"""What is measured of a console that runs: pages, queries, its rest, and what a browser sees."""

import argparse
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

import psutil
from benchmarks.console import looking

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.saved import saved_queries

LIVE_PAGES, LIVE_RATE = 5, 10.0
"""Pages open, and episodes a second, while the way from row to figure is measured."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Figure:
    """One thing that was measured."""

    name: str
    value: float
    unit: str = "ms"
    goal: str = ""

    def __str__(self) -> str:
        """The figure as a line."""
        goal = f"  (goal {self.goal})" if self.goal else ""
        return f"{self.name:<44} {self.value:>10,.1f} {self.unit}{goal}"


def figures(
    options: argparse.Namespace,
    client: ClickHouse,
    process: psutil.Process,
    url: str,
    addresses: Mapping[str, str],
) -> Iterator[Figure]:
    """Measure everything, at `url`; `addresses` has a page called `long` and one `sampled`."""
    yield from _resting(client, process, options.seconds)
    for name, address in addresses.items():
        times = sorted(_asked(url + address, options.rounds))
        yield Figure(name=f"page {name}, p50", value=statistics.median(times), goal="≤ 150")
        yield Figure(name=f"page {name}, p95", value=_late(times, 0.95), goal="≤ 400")
    for saved in saved_queries().values():
        took = _query(client, saved.sql, saved.values())
        yield Figure(name=f"query {saved.name}", value=took, goal="≤ 1,000")
    yield from _seen(options.seconds, client, process, url, addresses)
    yield _memory("after all of it", process)


def _seen(
    seconds: float,
    client: ClickHouse,
    process: psutil.Process,
    url: str,
    addresses: Mapping[str, str],
) -> Iterator[Figure]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("no Chromium on this machine: what a browser sees is left out")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        took, elements = looking.usable(browser, url + addresses["long"])
        yield Figure(name="long episode, usable", value=took, goal="≤ 1,200")
        yield Figure(name="long episode", value=elements, unit="elements", goal="≤ 6,000")
        took = looking.drawn(browser, url + addresses["sampled"])
        yield Figure(name="coloured tokens, drawn", value=took, goal="≤ 300")
        tab = browser.new_page()
        tab.goto(url)
        yield _cpu("one page open", process, seconds, "≤ 3")
        tab.close()
        late = sorted(
            looking.delays(browser, url, client, pages=LIVE_PAGES, rate=LIVE_RATE, seconds=seconds)
        )
        name = "row to figure, five pages at 10 episodes/s"
        yield Figure(name=f"{name}, p50", value=1000 * statistics.median(late), goal="≤ 600")
        yield Figure(name=f"{name}, p99", value=1000 * _late(late, 0.99), goal="≤ 1,200")
        browser.close()


def _resting(client: ClickHouse, process: psutil.Process, seconds: float) -> Iterator[Figure]:
    """What the console takes while nobody looks."""
    time.sleep(3)  # what its start began is over
    before = _queries(client)
    yield _cpu("nobody looks", process, seconds, "≤ 0.3")
    queries = _queries(client) - before - 1  # the question itself
    yield Figure(name="queries while nobody looks", value=queries, unit="", goal="0")
    yield _memory("nobody looked yet", process)


def _queries(client: ClickHouse) -> int:
    (row,) = client.query("SELECT value FROM system.events WHERE event = 'Query'")
    return int(str(row["value"]))


def _cpu(when: str, process: psutil.Process, seconds: float, goal: str) -> Figure:
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(seconds)
    used = sum(process.cpu_times()[:2]) - before
    share = 100 * used / (time.monotonic() - began)
    return Figure(name=f"console's CPU, {when}", value=share, unit="% of a core", goal=goal)


def _memory(when: str, process: psutil.Process) -> Figure:
    held = process.memory_info().rss / 2**20
    return Figure(name=f"console's memory, {when}", value=held, unit="MB", goal="≤ 120")


def _asked(url: str, rounds: int) -> Iterator[float]:
    """Milliseconds of each answer, whole, after one that is not counted."""
    parts = urlsplit(url)
    line = HTTPConnection(str(parts.hostname), parts.port or 80, timeout=120)
    for number in range(rounds + 1):
        began = time.perf_counter()
        line.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        answer = line.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{url} answers {answer.status}: {body[:300]!r}")
        if number:
            yield 1000 * (time.perf_counter() - began)
    line.close()


def _query(client: ClickHouse, sql: str, values: Mapping[str, str]) -> float:
    began = time.perf_counter()
    client.query(sql, values)
    return 1000 * (time.perf_counter() - began)


def _late(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
