"""The code blocks of README and docs."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(kw_only=True, slots=True, frozen=True)
class Block:
    """One fenced block."""

    page: str
    language: str
    text: str


def blocks(language: str) -> list[Block]:
    """All blocks of a language."""
    return [
        Block(page=page.name, language=found[0], text=found[1])
        for page in PAGES
        for found in FENCE.findall(page.read_text(encoding="utf-8"))
        if found[0] == language
    ]


def queries() -> list[tuple[str, str]]:
    """(page, query) of every SQL block and of every command that asks one."""
    found = [(block.page, block.text) for block in blocks("sql")]
    for block in blocks("bash"):
        for line in block.text.splitlines():
            if asked := re.search(r"(?:--data-binary|headrace sql(?: --json)?) '([^']+)'", line):
                found.append((block.page, asked[1]))
    return found
