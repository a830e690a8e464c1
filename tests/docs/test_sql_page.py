"""docs/sql.md holds every saved query, every table, and every column of `spans`."""

import re

from headrace.connectors.clickhouse.saved import saved_queries
from headrace.connectors.clickhouse.tables import TABLES, sql_type
from headrace.schemas.columns import SPAN_COLUMNS
from tests.docs.sql_page import PAGE, made, named


def test_the_page_is_made_of_the_saved_queries() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert sorted(named(page)) == sorted(saved_queries())
    assert page == made(page), "write it with: python -m tests.docs.sql_page"


def test_every_column_of_spans_is_documented_in_its_place() -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page[page.index("### Columns of `spans`") :]
    rows = re.findall(r"^\| `[a-z_]+` \| `.*\|$", section, re.MULTILINE)
    assert rows == [f"| `{c.name}` | `{sql_type(c)}` | {c.doc} |" for c in SPAN_COLUMNS]


def test_every_table_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_]+)` \| [a-z]", page, re.MULTILINE) == list(TABLES)
