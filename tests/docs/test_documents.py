"""What README and docs tell a reader to type is there and works."""

import importlib
import re
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from headrace.infra.cli.app import VERBS
from headrace.infra.settings import load
from tests.docs.blocks import COMMAND, PAGES, ROOT, Block, Command, blocks, commands, fenced
from tests.docs.elsewhere import ELSEWHERE
from tests.e2e.walk import STEPS, step_for


@pytest.mark.parametrize("command", commands(), ids=str)
def test_every_command_is_run_by_a_test(command: Command) -> None:
    elsewhere = [e for e in ELSEWHERE if re.fullmatch(e.pattern, command.text, re.DOTALL)]
    if step_for(command.text):
        assert elsewhere == []
        return
    assert elsewhere, "no test runs it: add a step to tests/e2e/walk.py"
    for each in elsewhere:
        assert each.proof in (ROOT / each.file).read_text(encoding="utf-8"), each.why


def test_no_command_hides_in_a_block_of_another_language() -> None:
    read = {"bash", "python", "toml", "sql"}
    hidden = [
        f"{each.page}: {line}"
        for each in fenced()
        if each.language not in read
        for line in each.text.splitlines()
        if COMMAND.match(line.removeprefix("$ ").strip())
    ]
    assert hidden == []
    assert {each.language for each in fenced()} <= read | {"", "text"}


def test_no_step_and_no_excuse_is_left_over() -> None:
    texts = [command.text for command in commands()]
    known = [each.pattern for each in (*STEPS, *ELSEWHERE)]
    unused = [p for p in known if not any(re.fullmatch(p, text, re.DOTALL) for text in texts)]
    assert unused == []


@pytest.mark.parametrize(
    "line", [each.text for each in commands() if each.text.startswith("headrace ")]
)
def test_every_verb_and_option_exists(line: str) -> None:
    words = line.split()[1:]
    for verb in VERBS:
        importlib.import_module(f"headrace.infra.cli.{verb}")
    from headrace.infra.cli.app import app

    group = typer.main.get_group(app)
    command = group.get_command(typer.Context(group), words[0])
    assert command is not None, f"no verb {words[0]}"
    for word in words[1:]:
        if not isinstance(command, TyperGroup):
            break
        # `headrace tasks FILE` names none of its verbs, and `headrace console` needs none.
        verb_of = command.commands.get(word) or command.commands.get("ask")
        if verb_of is None and command.invoke_without_command:
            break
        assert verb_of is not None, f"no verb {word} in {line}"
        command = verb_of
    known = {option for parameter in command.params for option in parameter.opts}
    ours = words[1 : words.index("--")] if "--" in words else words[1:]  # the rest is the agent's
    for word in ours:
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
    from headrace.streams.reward import Rule, evaluate

    names: dict[str, object] = {}
    exec(code, names)
    rules = [value for value in names.values() if isinstance(value, Rule)]
    assert rules
    done = Episode(result="done", expected="done")
    assert all(evaluate(rule, done).value is not None for rule in rules)


def test_pages_link_only_to_what_is_there() -> None:
    broken = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []
