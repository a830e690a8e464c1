"""Texts that want to be more than texts, in every column that can carry one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from benchmarks.console import seed, serve
from starlette.testclient import TestClient

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.clickhouse.tables import TABLES
from headrace.infra.console.app import ITEMS, LISTS, application

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from headrace.infra.embedded import Stack

DATABASE = "console_hostile"
EVIL = (
    "<script>alert(1)<\\script><svg onload=alert(1)><img src=x onerror=alert(1)>\"'><b>"
    "javascript:alert(1) {{ 7 * 7 }} {% raw %} ${7*7} =1+1 \x00\x1b[31m\u202eevil\u200b\u2028 "
    "</pre></textarea>"
)
ID = EVIL.replace("/", "\\")  # no id holds what keys are put together with
LONG = EVIL + "x" * 10_000_000
DEEP = "[" * 50_000
SURROGATE = json.dumps([{"role": "\ud800" + EVIL, "content": "\udfff" + EVIL}])


@pytest.fixture(scope="module")
def hostile(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    for table in ("spans", "episodes", "groups", "outcomes", "policies", "tasks", "dead_letters",
                  "drops"):  # fmt: skip
        client.insert_arrow(
            table, seed.table_of(table, [row(table, **more) for more in FACTS[table]])
        )
    yield client
    client.command(f"DROP DATABASE {DATABASE}")
    client.close()


def row(table: str, **facts: Any) -> dict[str, Any]:
    texts = {
        name: ID if name in ("project", "rollout_id", "attempt", "group_id") else EVIL
        for name, kind in TABLES[table].items()
        if kind in ("String", "LowCardinality(String)", "Nullable(String)")
    }
    return texts | facts


MEMBER = {
    "rollout_id": ID, "attempt": ID, "status": EVIL, "reward": 0.5, "reward_reason": EVIL,
    "reward_detail": EVIL, "dimensions": [{"name": EVIL, "value": 0.5}], "advantage": 0.5,
    "version_min": 1, "version_max": 1,
}  # fmt: skip
SAMPLE = {
    "sample_id": f"{ID}/{ID}/s0/0", "rollout_id": ID, "attempt": ID, "agent": EVIL, "policy": EVIL,
    "advantage": 0.5, "reason": EVIL, "reward": 0.5,
}  # fmt: skip
CALL = {
    "kind": "call",
    "sampled_ids": [1, 2],
    "logprobs": [-0.1, float("nan")],
    "has_content": True,
}
FACTS: dict[str, list[dict[str, Any]]] = {
    "spans": [
        {**CALL, "span_id": "s0", "input": SURROGATE, "output": LONG},
        {**CALL, "span_id": "s1", "input": DEEP, "output": EVIL},
        {"kind": "tool", "span_id": "s2", "input": LONG, "has_content": True},
        {"kind": "reward", "span_id": "s3", "reward_value": float("inf")},
        {"span_id": ID},
    ],
    "episodes": [
        {"version": 3, "state": "closed", "n_spans": 5, "complete": True, "version_max": 1,
         "version_min": 1, "log_last": 9, "task_input": LONG, "result": LONG, "expected": LONG,
         "signals": {EVIL: 1}},
    ],
    "groups": [
        {"state": "final", "row_version": 3, "members": [MEMBER], "samples": [SAMPLE],
         "mean": float("nan"), "missing_rollouts": [ID], "group_rollouts": [ID], "log_last": 9,
         "status": "used"},
    ],
    "outcomes": [
        {"outcome": "dropped", "sample_id": f"{ID}/{ID}/s0/0", "step": 1},
        {"outcome": "trained", "sample_id": f"{ID}/{ID}/s1/0", "step": 1},
    ],
    "policies": [
        {"version": 1, "parent": 0, "metrics": {EVIL: 1.0, "reward": float("nan")}, "groups": [ID],
         "offsets": [{"topic": EVIL, "partition": 0, "offset": 1}]},
    ],
    "tasks": [{"version": -1, "input": EVIL}],
    "dead_letters": [{"offset": 1}],
    "drops": [{"first_offset": 1}],
}  # fmt: skip


def addresses() -> list[str]:
    """Every page, asked for with the names that they are stored under."""
    names = {
        "project": ID, "rollout": ID, "attempt": ID, "group": ID, "policy": EVIL, "version": 1,
    }  # fmt: skip
    made = []
    for path in ITEMS:
        plain = path.replace(":path}", "}").replace(":int}", "}")
        names |= {"span": "s0", "part": "output" if "{span}" in path else "task"}
        made.append(plain.format(**{k: quote(str(v), safe="") for k, v in names.items()}))
    evil = quote(EVIL, safe="")
    filtered = [f"/episodes?policy={evil}&signal={evil}", f"/ledger?policy={evil}&reason={evil}"]
    return [
        *(f"/{name}" for name in LISTS if name != "sql"),
        *made,
        *filtered,
        f"/sql?q={evil}&p_x={evil}",
    ]


@pytest.mark.parametrize("path", addresses())
def test_every_page_shows_them_as_they_are_and_obeys_none(hostile: ClickHouse, path: str) -> None:
    with TestClient(application(hostile), base_url="http://127.0.0.1:8090") as page:
        answer = page.get(path)
    assert answer.status_code == 200
    text = answer.text
    for markup in (
        "<script>alert",
        "<svg onload",
        "<img src=x",
        "<b>javascript",
        'href="javascript',
    ):
        assert markup not in text
    assert "&lt;svg onload=alert(1)&gt;" in text
    assert "{{ 7 * 7 }} {% raw %} ${7*7}" in text
    # What a form sends again has to be what it was.
    shown = re.sub(r' value="[^"]*"|<textarea[^>]*>[^<]*</textarea>', "", text)
    for raw in ("\x00", "\x1b", "\u202e", "\u200b", "\u2028"):
        assert raw not in shown
    assert "␀␛[31m⟨U+202E⟩evil⟨U+200B⟩⟨U+2028⟩" in text
    assert len(text) < 1_000_000


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_a_browser_runs_none_of_them_and_asks_nobody_else(
    browser: Browser, hostile: ClickHouse
) -> None:
    complaints: list[str] = []
    with serve.pages(hostile) as url:
        tab = browser.new_page()
        tab.on("console", lambda said: complaints.append(said.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda box: complaints.append(box.message))
        tab.on("request", lambda a: None if a.url.startswith(url) else complaints.append(a.url))
        for path in addresses():
            answer = tab.goto(url + path)
            assert answer is not None
            assert answer.status == 200
            assert tab.locator("script").count() == 1
            assert tab.locator("[onload], [onerror], main img, main b").count() == 0
        tab.close()
    assert complaints == []
