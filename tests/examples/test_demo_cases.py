"""Every demo that can be asked for has its folder, its tasks and its settings."""

import itertools
from pathlib import Path

import pytest

from headrace.infra.demo import CASES, Case
from headrace.infra.errors import SetupError
from headrace.infra.settings import load
from headrace.streams.reward.load import load_rule

every = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


@every
def test_its_settings_are_settings_and_name_its_rule(case: Case) -> None:
    settings = load(environment={}, overrides=case.settings())
    assert load_rule(settings.credit.rule).name == case.name


def test_other_settings_of_an_example_are_settings() -> None:
    files = {file for case in CASES for file in (Path("examples") / case).glob("*.toml")}
    assert Path("examples/text_to_sql/frozen_checker.toml") in files
    for file in files:
        assert load(file, environment={}).policy.name


@every
def test_its_tasks_go_on_and_some_are_held_out(case: Case) -> None:
    tasks = case.tasks()
    assert len(list(itertools.islice(tasks.train(seed=0), 20))) == 20
    assert [item.input["seed"] for item in tasks.heldout(8)] == [*range(8)]


@every
def test_its_page_says_how_to_run_it(case: Case) -> None:
    page = (Path("examples") / case.name / "README.md").read_text()
    assert ("`make demo`" if case.name == "calculator" else f"make demo NAME={case.name}\n") in page


def test_a_demo_whose_framework_is_missing_says_what_to_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match="make framework-environments ONLY=langchain"):
        _ = CASES["text_to_sql"].python
    with pytest.raises(SetupError, match="examples/text_to_sql"):
        CASES["text_to_sql"].settings()
