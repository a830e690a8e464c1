"""docs/sql.md names every table, and every column of `spans` with its type and meaning."""

import re
from pathlib import Path

from headrace.connectors.clickhouse.tables import TABLES, sql_type
from headrace.schemas.columns import SPAN_COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "sql.md"


def test_every_column_of_spans_is_documented_in_its_place() -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page[page.index("### Columns of `spans`") :]
    rows = re.findall(r"^\| `[a-z_]+` \| `.*\|$", section, re.MULTILINE)
    assert rows == [f"| `{c.name}` | `{sql_type(c)}` | {c.doc} |" for c in SPAN_COLUMNS]


def test_every_table_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_]+)` \| [a-z]", page, re.MULTILINE) == list(TABLES)
