"""What README and docs tell a reader to type is there and works."""

import importlib
import re
from pathlib import Path

import pytest
import typer

from headrace.infra.cli.app import VERBS
from headrace.infra.settings import load
from tests.docs.blocks import PAGES, ROOT, Block, blocks

OTHERS = {
    # commands that stand for the reader's own
    "OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=any python your_agent.py",
}


def bash_lines() -> list[tuple[str, str]]:
    return [
        (block.page, line.split("  #")[0].strip())
        for block in blocks("bash")
        for line in block.text.splitlines()
        if line.strip() and not line.startswith("#")
    ]


@pytest.mark.parametrize(("page", "line"), bash_lines())
def test_every_command_exists(page: str, line: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    if line.startswith("make "):
        assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE)
    elif line.startswith("headrace "):
        check_verb(line.split()[1:])
    elif line.startswith("curl "):
        assert "--data-binary" in line  # its query is run by the integration tests
    else:
        assert line in OTHERS


def check_verb(words: list[str]) -> None:
    for verb in VERBS:
        importlib.import_module(f"headrace.infra.cli.{verb}")
    from headrace.infra.cli.app import app

    commands = typer.main.get_group(app)
    command = commands.get_command(typer.Context(commands), words[0])
    assert command is not None, f"no verb {words[0]}"
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words[1:]:
        if word.startswith("--"):
            assert word in known, f"headrace {words[0]} has no {word}"


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.page)
def test_every_settings_example_loads(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(block.text)
    load(file, environment={})


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page)
def test_every_python_example_compiles_and_its_rules_are_rules(block: Block) -> None:
    code = compile(block.text, block.page, "exec")
    if "@reward" not in block.text:
        return
    from headrace.schemas import Episode
    from headrace.streams.reward.rule import Rule

    names: dict[str, object] = {}
    exec(code, names)
    rules = [value for value in names.values() if isinstance(value, Rule)]
    assert rules
    assert all(isinstance(rule(Episode(result="done", expected="done")), float) for rule in rules)


def test_pages_link_only_to_what_is_there() -> None:
    broken = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []
