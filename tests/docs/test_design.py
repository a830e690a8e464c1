"""docs/design.md and the code say the same: rules by name, and paths that exist."""

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
PARTS = ("schemas", "connectors", "streams", "trainer", "infra", "kernels")
FOLDERS = (*PARTS, "tests", "docs", "examples", "benchmarks")
SOURCES = [
    path
    for part in (*PARTS, "tests", "benchmarks", "examples")
    for path in sorted((ROOT / part).rglob("*"))
    if path.suffix in {".py", ".sql", ".avsc"} and path != Path(__file__)
]
CITED = re.compile(r"\(rule: ([a-z][^():,=]* [^():,=]*)\)")
MIGRATIONS = ROOT / "connectors/headrace/connectors/clickhouse/migrations"


def rules() -> dict[str, list[str]]:
    """The table of rules: name -> the files that keep it."""
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| .+ \| (.+) \|$", PAGE, re.MULTILINE)
    return {name: re.findall(r"`([^`]+)`", files) for name, files in rows}


def citations(path: Path) -> set[str]:
    """Rules that a source names; a citation may go on in the next line of a comment."""
    text = re.sub(r"\s*\n\s*(#|--)?\s*", " ", path.read_text(encoding="utf-8"))
    return set(CITED.findall(text))


def place(path: str) -> Path:
    """A path of the page: below the root, or below a part's package."""
    part, _, rest = path.partition("/")
    inside = ROOT / part / "headrace" / part / rest
    return inside if part in PARTS and inside.exists() else ROOT / path


def test_every_rule_that_code_names_is_in_the_table() -> None:
    cited = {name: path for path in SOURCES for name in citations(path)}
    assert {name: path for name, path in cited.items() if name not in rules()} == {}


@pytest.mark.parametrize("rule", rules())
def test_every_rule_is_named_where_it_is_kept(rule: str) -> None:
    files = rules()[rule]
    assert files
    assert [file for file in files if rule not in citations(place(file))] == []


def test_every_path_of_the_page_exists() -> None:
    paths = re.findall(rf"`((?:{'|'.join(FOLDERS)})(?:/[\w.]+)*)`", PAGE)
    assert paths
    assert [path for path in paths if not place(path).exists()] == []


def test_nothing_cites_a_page_that_is_not_in_the_repository() -> None:
    pages = sorted((ROOT / "docs").glob("*.md"))
    landed = set(MIGRATIONS.glob("000[1-6]_*.sql"))  # never edited
    citing = re.compile(r"[Dd]esign,? §|§ ?\d+ of the design|\bR[1-7]\b[,:;)]")
    found = [
        path.name
        for path in [*SOURCES, *pages, ROOT / "CONTRIBUTING.md", ROOT / "pyproject.toml"]
        if path not in landed and citing.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
