"""The console's pages over the real ClickHouse engine: figures, hostile texts, who may ask."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from benchmarks.console import seed
from starlette.testclient import TestClient

from headrace.connectors.clickhouse import (
    ClickHouse,
    ClickHouseConfig,
    ClickHouseRejected,
    migrate,
)
from headrace.infra.console.app import LISTS, application
from headrace.infra.console.ask import LIMITS
from headrace.infra.console.pages.episode import SPANS
from headrace.infra.console.pages.listing import ROWS
from headrace.infra.console.pages.text import MOST

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "console"
TABLES = ("spans", "episodes")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}\x1b[31m\u202e"
DRAWN = (
    "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"
    "{{ 7 * 7 }}␛[31m⟨U+202E⟩"
)


@pytest.fixture(scope="module")
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    yield client
    client.command(f"DROP DATABASE {DATABASE}")
    client.close()


@pytest.fixture
def page(clickhouse: ClickHouse) -> Iterator[TestClient]:
    for table in TABLES:
        clickhouse.command(f"TRUNCATE TABLE {table}")
    with TestClient(application(clickhouse), base_url="http://127.0.0.1:8090") as client:
        yield client


def store(clickhouse: ClickHouse, rollout: str, spans: int = 1, **facts: Any) -> None:
    """An episode of calls, each with three tokens."""
    key = {"project": "default", "rollout_id": rollout, "attempt": "a"}
    calls = [
        {
            **key, "span_id": f"s{n}", "kind": "call", "name": facts.get("name", "chat"),
            "started_at": n + 1, "ended_at": n + 2, "input": facts.get("input", "asked"),
            "output": "said", "sampled_ids": [1, 2, 3], "logprobs": [-0.1, -1.0, -6.0],
            "run_versions": [4], "run_lengths": [3], "has_content": True, "offset": n,
        }
        for n in range(spans)
    ]  # fmt: skip
    clickhouse.insert_arrow("spans", pa.Table.from_pylist(calls))
    row = {
        **key, "version": 2 * spans + 1, "state": "closed", "complete": True, "n_spans": spans,
        "policy": facts.get("policy", "p"), "status": "ok", "split": "train", "calls": spans,
        "log_last": facts.get("log_last", 1_000), "task_input": facts.get("input", "asked"),
            "result": facts.get("input", "asked"),
    }  # fmt: skip
    clickhouse.insert_arrow("episodes", pa.Table.from_pylist([row]))


def test_an_empty_database_is_told_with_what_to_do(page: TestClient) -> None:
    for path in LISTS:
        answer = page.get(path)
        assert answer.status_code == 200
        assert "<code>headrace " in answer.text
    assert page.get("/episodes.json").json() == {"episodes": []}


def test_the_figures_are_those_of_the_query_that_is_shown(
    clickhouse: ClickHouse, page: TestClient
) -> None:
    for number in range(3):
        store(clickhouse, f"r{number}")
    shown = page.get("/overview.json").json()["states"]
    assert shown == clickhouse.query(_sql(page, "/", "states"))
    assert shown[0]["episodes"] == 3
    assert '<td class="number">3</td>' in page.get("/").text


def test_the_list_goes_on_where_it_ended_and_keeps_its_filter(
    clickhouse: ClickHouse, page: TestClient
) -> None:
    for number in range(ROWS + 2):
        store(clickhouse, f"r{number:03}", log_last=number // 2)
    store(clickhouse, "other", policy="q")
    first = page.get("/episodes.json?policy=p").json()["episodes"]
    text = page.get("/episodes?policy=p").text
    older = text.partition('">Older<')[0].rpartition('href="/episodes?')[2].replace("&amp;", "&")
    rest = page.get(f"/episodes.json?{older}").json()["episodes"]
    seen = [row["rollout_id"] for row in first + rest]
    assert sorted(seen, reverse=True) == [f"r{number:03}" for number in reversed(range(ROWS + 2))]
    assert len(rest) == 2


def test_hostile_texts_are_texts_on_every_page(clickhouse: ClickHouse, page: TestClient) -> None:
    store(clickhouse, "r", name=HOSTILE, input=HOSTILE, policy=HOSTILE)
    for path in ("/", "/episodes", "/episodes/default/r/a"):
        text = page.get(path).text
        assert "<script>" not in text
        assert "<img" not in text
        assert DRAWN in text
    asked = page.get("/episodes", params={"policy": '"><script>'})
    assert "<script>" not in asked.text


def test_an_episode_shows_its_calls_and_tokens_and_says_what_it_cuts(
    clickhouse: ClickHouse, page: TestClient
) -> None:
    store(clickhouse, "r", spans=SPANS + 7, input="x" * 5_000)
    text = page.get("/episodes/default/r/a").text
    assert f"Spans 1 to {SPANS} of {SPANS + 7}." in text
    assert "the first 4,000 of 5,000 characters" in text
    assert "the first 2,000 of 5,000 characters" in text
    about = "token 3, log-probability -6, version 4"
    assert f'<span class="p4" title="{about}">⟨3⟩</span>' in text
    assert "Show its 3 tokens" not in text  # as many as these are shown unasked
    rows = list(csv.DictReader(io.StringIO(page.get("/csv/episodes/default/r/a").text)))
    assert [row["span_id"] for row in rows] == [f"s{n}" for n in range(SPANS)]


def test_an_attempt_ends_behind_what_was_done_in_it(
    clickhouse: ClickHouse, page: TestClient
) -> None:
    key = {"project": "default", "rollout_id": "r", "attempt": "a"}
    kinds = {"attempt.start": (0, 1), "attempt.end": (0, 90), "call": (5, 80)}
    spans = [
        {**key, "span_id": kind, "kind": kind, "started_at": began, "ended_at": ended}
        for kind, (began, ended) in kinds.items()
    ]
    clickhouse.insert_arrow("spans", seed.table_of("spans", spans))
    clickhouse.insert_arrow("episodes", seed.table_of("episodes", [{**key, "n_spans": 3}]))
    rows = page.get("/json/episodes/default/r/a").json()["spans"]
    assert [row["span_id"] for row in rows] == ["attempt.start", "call", "attempt.end"]


def test_the_spans_beyond_the_first_are_read_on_and_found_by_their_id(
    clickhouse: ClickHouse, page: TestClient
) -> None:
    store(clickhouse, "r", spans=SPANS + 7)
    first = page.get("/json/episodes/default/r/a").json()["spans"]
    text = page.get("/episodes/default/r/a").text
    assert f"from={SPANS}" in text
    rest = page.get(f"/json/episodes/default/r/a?from={SPANS}").json()["spans"]
    assert [row["span_id"] for row in first + rest] == [f"s{n}" for n in range(SPANS + 7)]
    found = page.get(f"/episodes/default/r/a?span=s{SPANS + 3}").text
    assert f'id="span-s{SPANS + 3}"' in found
    assert 'id="span-s0"' not in found
    assert page.get("/episodes/default/r/a?from=-1").status_code == 400
    assert "None from here on" in page.get("/episodes/default/r/a?from=9000").text


def test_a_long_text_is_read_a_range_at_a_time(clickhouse: ClickHouse, page: TestClient) -> None:
    whole = "".join(f"{n:06}é" for n in range(MOST // 5))
    store(clickhouse, "r", input=whole)
    address = "/texts/default/r/a/input/s0"
    assert f'href="{address}"' in page.get("/episodes/default/r/a").text
    read, query = "", "from=0"
    while query:
        text = page.get(f"{address}?{query}").text
        read += page.get(f"/json{address}?{query}").json()["text_of_span"][0]["text"]
        query = text.partition('rel="next" href="?')[2].partition('"')[0]
    assert read == whole
    assert f"of {len(whole):,}" in text
    task = page.get("/json/texts/default/r/a/task").json()["text_of_episode"]
    assert task[0]["characters"] == len(whole)
    assert page.get("/texts/default/r/a/input").status_code == 404
    assert page.get("/texts/default/r/a/rollout_id/s0").status_code == 404
    assert page.get(f"{address}?from=x").status_code == 400


def test_a_formula_in_a_cell_is_not_one_for_a_spreadsheet(
    clickhouse: ClickHouse, page: TestClient
) -> None:
    store(clickhouse, "r", input="=HYPERLINK(1)")
    (row,) = csv.DictReader(io.StringIO(page.get("/episodes.csv").text))
    assert row["task"] == "'=HYPERLINK(1)"


def test_what_is_not_there_or_cannot_be_is_said(page: TestClient) -> None:
    assert page.get("/episodes/default/nobody/a").status_code == 404
    assert page.get("/episodes?at=soon").status_code == 400
    assert page.get(f"/episodes?at={2**70}").status_code == 400


def test_the_queries_of_pages_cannot_write(clickhouse: ClickHouse) -> None:
    with pytest.raises(ClickHouseRejected, match="readonly"):
        clickhouse.query("CREATE TABLE mine (x Int8) ENGINE = Memory", settings=LIMITS)


def test_clickhouse_away_is_a_page_that_says_what_to_do() -> None:
    away = ClickHouse(ClickHouseConfig(url="http://127.0.0.1:1"))
    with TestClient(application(away), base_url="http://127.0.0.1:8090") as client:
        answer = client.get("/")
        assert client.get("/healthz").status_code == 200
    assert answer.status_code == 503
    assert "headrace status" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_pages_of_other_sites_get_nothing(headers: dict[str, str]) -> None:
    away = ClickHouse(ClickHouseConfig(url="http://127.0.0.1:1"))
    with TestClient(application(away), base_url="http://127.0.0.1:8090") as client:
        assert client.get("/", headers=headers).status_code == 403
        allowed = client.get("/app.css")
    assert allowed.status_code == 200
    assert "default-src 'none'" in allowed.headers["content-security-policy"]
    assert "unsafe" not in allowed.headers["content-security-policy"]


def _sql(page: TestClient, path: str, name: str) -> str:
    after = page.get(path).text.partition(f' id="sql-{name}">')[2]
    return html.unescape(after.partition("</pre>")[0])


@pytest.mark.parametrize(
    "path", ["/overview.xml", "/groups.html", "/xml/policies/p", "/x/groups/p/g"]
)
def test_there_are_no_other_forms_of_a_page(page: TestClient, path: str) -> None:
    assert page.get(path).status_code == 404
