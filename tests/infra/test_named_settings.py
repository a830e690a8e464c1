"""What our messages call a setting is what the user writes: `[section] key`, or its variable."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from headrace.connectors.settings import keys
from headrace.infra.settings import Settings

ROOT = Path(__file__).parents[2]
PARTS = ("schemas", "connectors", "streams", "trainer", "infra")
KEYS = {
    section.name: {one.name for one in keys(type(getattr(Settings(), section.name)))}
    for section in dataclasses.fields(Settings)
}
BRACKETED = re.compile(rf"\[({'|'.join(KEYS)})\] ([a-z]\w*)")
DOTTED = re.compile(rf"(?<![\w.@/\[])({'|'.join(KEYS)})\.([a-z]\w*)(?![\w(/.])")


def texts() -> Iterator[tuple[Path, str]]:
    """Every text of our source that is no docstring; what is formatted into one shows as `…`."""
    for part in PARTS:
        for file in sorted((ROOT / part / "headrace").rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            inside = {
                id(piece)
                for node in ast.walk(tree)
                if isinstance(node, ast.JoinedStr)
                for piece in node.values
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    pieces = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                    yield file, "".join(map(str, pieces))
                elif isinstance(node, ast.Constant) and id(node) not in documented | inside:
                    yield file, str(node.value)


def test_a_key_that_a_message_names_exists() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}: {found[0]}"
        for file, text in texts()
        for found in BRACKETED.finditer(text)
        if found[2] not in KEYS[found[1]]
    ]
    assert wrong == []


def test_a_message_names_a_key_as_the_file_writes_it() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}: {found[0]}"
        for file, text in texts()
        for found in DOTTED.finditer(text)
        if found[2] in KEYS[found[1]]
    ]
    assert wrong == []
