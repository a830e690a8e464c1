"""docs/agents.md says of frameworks what the table of the tests says."""

import re

import pytest

from tests.frameworks.scripted import EXAMPLES, ROOT
from tests.frameworks.yields import BROKEN, FRAMEWORKS, Yields

HEAD = "| framework | API | its tools | agent of a call | a tool that raises | hand-off |"


def versions(framework: str, packages: tuple[str, ...]) -> str:
    """Packages with the versions that are installed for the tests."""
    text = (EXAMPLES / framework / "requirements.txt").read_text()
    pins = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)$", text, re.M))
    return ", ".join(f"{package} {pins[package]}" for package in packages)


def row(framework: str, told: Yields) -> str:
    """The line of a framework."""
    failing = "the run ends" if told.raises else "the run goes on"
    if told.tools:
        failing = f"its span is an error, {failing}"
    if told.error != BROKEN:
        failing += f' ("{told.error}")'
    cells = (
        versions(framework, told.packages),
        f"{told.api}, not trained (`{told.untrainable}`)" if told.untrainable else told.api,
        "name, arguments, result" if told.tools else "run in your code",
        "the program" if told.agent == "agent" else "its own",
        failing,
        " → ".join(told.handoff) or "none",
    )
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_page_has_the_line_of_each_framework(framework: str) -> None:
    lines = (ROOT / "docs" / "agents.md").read_text().splitlines()
    table = lines[lines.index(HEAD) + 2 :]
    assert row(framework, FRAMEWORKS[framework]) in table[: len(FRAMEWORKS)]
