"""The SQL pad: saved queries, parameters, refusals, and the end of a query that takes too long."""

from __future__ import annotations

import html
import io
import threading
import time
import uuid
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyarrow import parquet
from starlette.testclient import TestClient

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.saved import saved_queries
from headrace.infra.console.app import application
from headrace.infra.console.pages.pad import PREFIX, SHOWN

RUNNING = """
SELECT count() AS n FROM system.processes
WHERE query_id = {id:String} OR Settings['log_comment'] = {id:String}
"""


@pytest.fixture(scope="module")
def page(seeded: ClickHouse) -> Iterator[TestClient]:
    with TestClient(application(seeded), base_url="http://127.0.0.1:8090") as client:
        yield client


@pytest.mark.parametrize("name", saved_queries())
def test_every_saved_query_answers(page: TestClient, name: str) -> None:
    answer = page.get("/sql", params={"name": name, "run": "1"})
    assert answer.status_code == 200
    assert 'role="alert"' not in answer.text
    assert 'id="sql-answer"' in answer.text


def test_a_query_is_sent_again_as_it_was_typed(page: TestClient) -> None:
    typed = "SELECT 'a\u202eb\u200bc' AS x,\n  2"
    text = page.get("/sql", params={"q": typed.replace("\n", "\r\n")}).text  # as a form sends it
    inside = text.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0]
    assert html.unescape(inside) == typed
    assert "⟨U+202E⟩b⟨U+200B⟩c" in text.partition('id="unseen"')[2]
    plain = page.get("/sql", params={"q": "SELECT 1,\r\n  2"}).text
    assert 'id="unseen"' not in plain


def test_a_parameter_is_bound_and_stays_in_its_field(page: TestClient) -> None:
    asked = {"q": "SELECT {x:String} AS said", "p_x": "it's <b>", "run": "1"}
    assert page.get("/sql.json", params=asked).json()["answer"] == [{"said": "it's <b>"}]
    assert 'name="p_x" value="it&#39;s &lt;b&gt;"' in page.get("/sql", params=asked).text


def test_what_is_not_shown_is_said_and_is_in_the_csv(page: TestClient) -> None:
    asked = {"q": f"SELECT number FROM numbers({SHOWN + 5})"}
    assert f"the first {SHOWN} are shown" in page.get("/sql", params=asked).text
    assert page.get("/sql.csv", params=asked).text.count("\n") == SHOWN + 6


@pytest.mark.parametrize(
    "query",
    ["DROP TABLE spans", "INSERT INTO tasks (project) VALUES ('x')", "SELECT no_such", "SELECT (",
     "SELECT * FROM numbers(100000000)"],
)  # fmt: skip
def test_what_is_refused_is_said_beside_the_question(page: TestClient, query: str) -> None:
    answer = page.get("/sql", params={"q": query})
    assert answer.status_code == 200
    assert 'role="alert"' in answer.text
    assert f">{query}</textarea>" in html.unescape(answer.text)


def test_numbers_over_a_number_are_drawn(page: TestClient) -> None:
    asked = "SELECT number AS x, number * number AS y, toBool(number % 2) AS odd FROM numbers(9)"
    text = page.get("/sql", params={"q": asked}).text
    assert "<summary>Chart by x</summary>" in text
    assert "y by x. y: 0.000 at 0, 64.000 at 8." in text
    names = "SELECT toString(number) AS x, number AS y FROM numbers(9)"
    assert "Chart by" not in page.get("/sql", params={"q": names}).text
    assert "Chart by" not in page.get("/sql", params={"q": "SELECT 1 AS x, 2 AS y"}).text


def test_the_answer_comes_as_parquet_with_its_types(page: TestClient) -> None:
    query = "SELECT toUInt32(number) AS n FROM numbers({most:UInt32});"
    found = page.get("/sql.parquet", params={"q": query, "p_most": "700"})
    assert found.status_code == 200
    table = parquet.read_table(io.BytesIO(found.content))
    assert table.num_rows == 700
    assert table.schema.field("n").type == pa.uint32()
    assert found.headers["content-disposition"] == 'attachment; filename="answer.parquet"'
    shown = page.get("/sql", params={"q": query, "p_most": "700"}).text
    assert 'href="/sql.parquet?q=SELECT' in shown


@pytest.mark.parametrize(
    ("query", "status"), [("", 400), ("SELECT 1 FORMAT CSV", 400), ("SELECT no_such", 500)]
)
def test_what_cannot_be_a_file_is_said(page: TestClient, query: str, status: int) -> None:
    assert page.get("/sql.parquet", params={"q": query}).status_code == status


def test_a_query_that_takes_long_can_be_ended(seeded: ClickHouse, page: TestClient) -> None:
    query_id = f"{PREFIX}{uuid.uuid4()}"
    slow = " UNION ALL ".join(["SELECT sleepEachRow(0.01) AS n FROM numbers(250)"] * 8)
    ended: list[str] = []
    asking = threading.Thread(
        target=lambda: ended.append(page.get("/sql", params={"q": slow, "id": query_id}).text)
    )
    asking.start()
    while not ended and not seeded.query(RUNNING, {"id": query_id})[0]["n"]:
        time.sleep(0.05)  # until it runs, or could not
    assert page.post("/sql/cancel", data={"id": query_id}).status_code == 202
    asking.join()
    said = ended[0].partition('role="alert"')[2].partition("</div>")[0]
    assert "cancelled" in said
    assert 'id="sql-answer"' not in ended[0]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT file('/etc/hostname')",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SET max_execution_time = 0",
        "CREATE TEMPORARY TABLE kept (n UInt8)",
    ],
)
def test_a_query_reads_the_tables_alone_and_within_its_limits(page: TestClient, query: str) -> None:
    said = page.get("/sql", params={"q": query}).text
    assert 'role="alert"' in said
    assert 'id="sql-answer"' not in said
    assert page.get("/sql.parquet", params={"q": query}).status_code >= 400


def test_nothing_but_a_query_of_the_pad_is_ended(page: TestClient) -> None:
    assert page.post("/sql/cancel", data={"id": "' OR 1 --"}).status_code == 400
    assert page.post("/sql/cancel", content=b"id=" + b"x" * 10_000).status_code == 413
    foreign = {"origin": "https://evil.example"}
    assert page.post("/sql/cancel", data={"id": "x"}, headers=foreign).status_code == 403
