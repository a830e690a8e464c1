"""The code blocks and commands of README and docs."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
)
FENCE_OR_SPAN = re.compile(r"^```(\w*)\n(.*?)^```|`([^`]+)`", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(
    r"(?:headrace|make|curl|python|pytest|pip|uv|git|docker) \S"
    r"|[A-Z_]+=\S+ \w"
    r"|HEADRACE_GATEWAY_UPSTREAM_URL$"  # a way to run headrace, by what README says of it
)
"""How a code span begins that is something to type."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Block:
    """One fenced block."""

    page: str
    language: str
    text: str


@dataclass(kw_only=True, slots=True, frozen=True)
class Command:
    """Something a page tells to run: a line for the shell, or a whole block of Python."""

    page: str
    text: str

    def __str__(self) -> str:
        """Name of its tests."""
        return f"{self.page}: {self.text.splitlines()[0]}"


def blocks(language: str) -> list[Block]:
    """All blocks of a language."""
    return [block for block in fenced() if block.language == language]


def fenced() -> list[Block]:
    """All blocks; the language of a bare one is empty."""
    return [
        Block(page=name_of(page), language=language, text=text)
        for page in PAGES
        for language, text in _parts(page)
        if language != "span"
    ]


def commands() -> list[Command]:
    """What the pages tell to run, in their order.

    A span in the text counts if it stands for itself: `headrace sql` only names what longer
    lines run.
    """
    lines = {line for block in blocks("bash") for line in shell_lines(block.text)}
    spans = {text for page in PAGES for language, text in _parts(page) if language == "span"}
    found: list[Command] = []
    for page in PAGES:
        for language, text in _parts(page):
            if language == "bash":
                found += [Command(page=name_of(page), text=line) for line in shell_lines(text)]
            elif language == "python":
                found.append(Command(page=name_of(page), text=text))
            elif language == "span" and text not in lines and not _begins_any(text, lines | spans):
                lines.add(text)
                found.append(Command(page=name_of(page), text=text))
    return found


def shell_lines(text: str) -> list[str]:
    """Lines of a block for the shell, without comments."""
    lines = (line.split("  #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def queries() -> list[tuple[str, str]]:
    """(page, query) of every SQL block and of every command that asks one."""
    found = [(block.page, block.text) for block in blocks("sql")]
    for block in blocks("bash"):
        for line in block.text.splitlines():
            if asked := re.search(r"(?:--data-binary|headrace sql(?: --json)?) '([^']+)'", line):
                found.append((block.page, asked[1]))
    return found


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def _parts(page: Path) -> list[tuple[str, str]]:
    """(language, text) of a page's fenced blocks and, as "span", its commands in the text."""
    parts = []
    for language, block, span in FENCE_OR_SPAN.findall(page.read_text(encoding="utf-8")):
        if not span:
            parts.append((language, block))
        elif COMMAND.match(text := " ".join(span.split())):
            parts.append(("span", text))
    return parts


def _begins_any(text: str, lines: set[str]) -> bool:
    return any(line.startswith(f"{text} ") for line in lines)
