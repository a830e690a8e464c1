"""`headrace run` as its user meets it, with nothing of headrace there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.connectors.commands.folder import AttemptFolder, left_behind

NOWHERE = {"HEADRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1", "HEADRACE_GATEWAY_PORT": "1"}


UNSET = ("OPENAI_BASE_URL", "PYTHONSAFEPATH")


def headrace(
    directory: Path, *arguments: str, input: str = ""
) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if k not in UNSET}
    return subprocess.run(
        [sys.executable, "-m", "headrace.infra.cli", "run", *arguments],
        cwd=directory,
        env={**environment, **NOWHERE, "HEADRACE_DATA_DIRECTORY": str(directory / "data")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        input=input,
    )


def python(text: str) -> list[str]:
    return ["--", sys.executable, "-c", text]


def left(directory: Path) -> AttemptFolder:
    (folder,) = left_behind(directory / "data" / "spool" / "attempts")
    return folder


def test_the_agent_runs_as_before_and_its_episode_waits_on_disk(tmp_path: Path) -> None:
    text = "import os, sys; print(sys.stdin.read()); print(os.environ.get('OPENAI_BASE_URL'))"
    done = headrace(tmp_path, "--agent", "mail", *python(text), input="asked")
    assert (done.returncode, done.stdout) == (0, "asked\nNone\n")
    assert "no gateway answers at http://127.0.0.1:1" in done.stderr
    assert "kept on disk until Kafka answers" in done.stderr
    folder = left(tmp_path)
    assert folder.identity.agent == "mail"
    assert folder.ended is not None
    assert (folder.ended.status, folder.ended.result) == ("ok", '"None"')
    assert not folder.path.stat().st_mode & 0o077
    folder.leave()


def test_its_exit_code_is_kept(tmp_path: Path) -> None:
    done = headrace(tmp_path, *python("import sys; sys.exit(7)"))
    assert done.returncode == 7
    folder = left(tmp_path)
    assert folder.ended is not None
    assert folder.ended.status == "error"
    folder.leave()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_that_ends_it_ends_us_the_same(tmp_path: Path, number: signal.Signals) -> None:
    done = headrace(tmp_path, *python(f"import os; os.kill(os.getpid(), {int(number)})"))
    assert done.returncode == -number


def test_signals_are_passed_on(tmp_path: Path) -> None:
    text = (
        "import signal, sys, os, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "os.kill(os.getppid(), signal.SIGTERM)\n"
        "time.sleep(60)"
    )
    assert headrace(tmp_path, *python(text)).returncode == 9


def test_the_result_may_be_a_file(tmp_path: Path) -> None:
    text = "import os; open(os.environ['HEADRACE_RESULT_FILE'], 'w').write('{\"a\": [1]}')"
    done = headrace(tmp_path, "--result-file", "out.json", *python(text))
    assert done.returncode == 0
    folder = left(tmp_path)
    assert folder.ended is not None
    assert json.loads(folder.ended.result) == {"a": [1]}
    folder.leave()


def test_a_command_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    done = headrace(tmp_path, "--", "no-such-agent")
    assert done.returncode == 127
    assert "no-such-agent cannot be started" in done.stderr
    assert not list((tmp_path / "data" / "spool" / "attempts").iterdir())


def test_a_gateway_that_is_required_and_away_runs_nothing(tmp_path: Path) -> None:
    done = headrace(tmp_path, "--require", *python("print('ran')"))
    assert (done.returncode, done.stdout) == (3, "")


def test_a_framework_without_its_package_is_told_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "crewai.py").write_text("")
    done = headrace(tmp_path, "--no-gateway", *python("import crewai"))
    assert "pip install openinference-instrumentation-crewai" in done.stderr
    assert "no gateway" not in done.stderr
