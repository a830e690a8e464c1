"""docs/sql.md from the saved queries: what stands between `<!-- @NAME -->` and `<!-- / -->`.

`python -m tests.docs.sql_page` writes the page.
"""

import re
import textwrap
from pathlib import Path

from headrace.connectors.clickhouse.saved import SavedQuery, saved_queries

PAGE = Path(__file__).parents[2] / "docs" / "sql.md"
_PLACE = re.compile(r"<!-- @(\w+) -->\n.*?<!-- / -->", re.DOTALL)


def named(page: str) -> list[str]:
    """The saved queries that a page has a place for, in its order."""
    return _PLACE.findall(page)


def made(page: str) -> str:
    """The page with what the saved queries say now."""
    return _PLACE.sub(lambda place: _section(saved_queries()[place[1]]), page)


def _section(query: SavedQuery) -> str:
    what = f"**`{query.name}`**: {query.about[0].lower()}{query.about[1:]}"
    what = "\n".join(textwrap.wrap(what, 110, break_long_words=False, break_on_hyphens=False))
    return f"<!-- @{query.name} -->\n{what}\n\n```sql\n{query.filled()}\n```\n<!-- / -->"


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
