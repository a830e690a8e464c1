"""The make targets that the pages tell to run would run things that are there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.infra.cli import doctor
from headrace.infra.demo import CASES, Case
from tests.docs.blocks import ROOT, commands

TARGETS = sorted({each.text for each in commands() if each.text.startswith("make ")})


def dry_run(target: str, **variables: str) -> list[str]:
    """The lines that a target would run."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    given = [f"{name}={value}" for name, value in variables.items()]
    done = subprocess.run(
        [*shlex.split(target), "-n", *given],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [line for line in lines if not line.startswith("make: ")]  # "Nothing to be done for …"


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_programs_that_are_there(target: str) -> None:
    lines = dry_run(target, VENV=sys.prefix)
    made: tuple[str, ...] = ()  # environments that the target itself makes
    for line in lines:
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        if words[1:2] == ["venv"]:
            made += (words[-1],)
        if words[0].startswith(made):
            continue
        assert shutil.which(words[0], path=f"{ROOT}{os.pathsep}{os.environ['PATH']}"), line
        files = [word for word in words[1:] if word.endswith((".py", ".txt", ".toml"))]
        assert [file for file in files if not (ROOT / file).exists()] == [], line


def pytest_arguments(target: str) -> list[str]:
    (line,) = (line for line in dry_run(target, VENV=sys.prefix) if " -m pytest" in line)
    words = shlex.split(line)
    return words[words.index("pytest") + 1 :]


def test_make_test_leaves_nothing_out_unless_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Neither by an option nor by what a shell happens to have set.
    monkeypatch.setenv("ONLY", "schemas")
    assert pytest_arguments("make test") == ["-n", "auto"]
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_make_test_can_be_told_some_folders() -> None:
    chosen = pytest_arguments('make test ONLY="streams schemas"')
    assert chosen == ["-n", "auto", "tests/streams", "tests/schemas"]


def test_the_folders_that_contributors_are_told_of_are_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    lists = re.findall(r'\| `"([a-z0-9 ]+)"` \|', page)
    assert len(lists) > 5
    for folder in " ".join(lists).split():
        assert (ROOT / "tests" / folder).is_dir()


def test_make_demo_is_headrace_demo() -> None:
    assert dry_run("make demo", VENV=sys.prefix)[-1] == f"{sys.prefix}/bin/headrace demo"


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_make_demo_of_a_name_makes_the_environment_of_its_agent(case: Case) -> None:
    lines = dry_run(f"make demo NAME={case.name}", VENV=sys.prefix)
    assert lines[-1] == f"{sys.prefix}/bin/headrace demo {case.name}"
    made = {line.split("/")[-1] for line in lines if " venv " in line}
    assert made == ({case.framework} if case.framework else set())


def test_the_interpreter_can_be_chosen_as_a_wrong_one_is_told(tmp_path: Path) -> None:
    told = re.search(r"`(make setup PY=(\S+))`", Path(doctor.__file__).read_text())
    assert told
    lines = dry_run(told[1], VENV=str(tmp_path / "venv"))
    assert f"{told[2]} -m venv {tmp_path / 'venv'}" in lines
    assert lines.index(f"{told[2]} tools/preflight.py --disk-under .") == 0


def test_the_demo_runs_by_the_algorithm_that_is_asked_for() -> None:
    (plain,) = [line for line in dry_run("make demo", VENV=sys.prefix) if "headrace demo" in line]
    assert "ALGORITHM" not in plain
    lines = dry_run("make demo", VENV=sys.prefix, ALGORITHM="gspo")
    assert any(line.startswith("HEADRACE_TRAINER_ALGORITHM=gspo ") for line in lines)
