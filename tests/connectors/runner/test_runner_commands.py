"""Agents that are commands: what they are given, what they give back, how they end."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.commands.command_line import agent_name, filled, words_of
from headrace.connectors.commands.errors import CommandUnusable
from headrace.connectors.commands.results import result_of
from headrace.connectors.runner import AgentUnusable, CommandAgent, check_command
from headrace.connectors.runner.commands import Commands
from headrace.connectors.runner.jobs import AgentStuck, Job, WorkerDied
from headrace.connectors.sdk import SdkConfig
from headrace.schemas import new_ulid
from tests.connectors.instrument.watched import Listening
from tests.connectors.sdk.memory import Broker
from tests.support.waiting import wait_until

ROOT = "00000000000000aa"


@pytest.fixture
def listening() -> Iterator[Listening]:
    config = SdkConfig(bootstrap="memory", registry_url="memory", close_timeout_s=0.05)
    telemetry = Listening(config, Broker())
    yield telemetry
    telemetry.close()


def job(task_input: Any = "what is 2+3?", **fields: Any) -> Job:
    defaults: dict[str, Any] = {
        "agent": "agent",
        "base_url": "http://127.0.0.1:1/v1",
        "gateway_url": "http://127.0.0.1:1",
        "api_key": "k",
        "model": "p@3",
        "pinned": False,
        "project": "default",
        "rollout_id": "r1",
        "attempt": new_ulid(),
        "root": ROOT,
        "end_id": "00000000000000bb",
        "subject": None,
    }
    return Job(key=0, task_input=json.dumps(task_input), **(defaults | fields))


def commands(
    listening: Listening, tmp_path: Path, text: str, *words: str, **settings: Any
) -> Commands:
    agent = CommandAgent(words=(sys.executable, "-c", text, *words), **settings)
    return Commands(agent, listening, tmp_path / "attempts")


def test_a_task_is_one_word_whatever_is_in_it(listening: Listening, tmp_path: Path) -> None:
    asked = '\'; rm -rf "{model}" $(x) \n två'
    text = "import json, sys; print(json.dumps(sys.argv[1:]))"
    running = commands(listening, tmp_path, text, "--ask={input}", "{model}", "{rollout}", "{x}")
    done = running.run(job(asked), 30)
    assert json.loads(done.output) == [f"--ask={asked}", "p@3", "r1", "{x}"]
    assert list((tmp_path / "attempts").iterdir()) == []


@pytest.mark.parametrize("way", ["stdin", "environment"])
def test_a_task_may_come_by_stdin_or_environment(
    listening: Listening, tmp_path: Path, way: str
) -> None:
    text = "import os, sys; print(sys.stdin.read() + os.environ.get('HEADRACE_TASK_INPUT', ''))"
    running = commands(listening, tmp_path, text, input=way)
    assert running.run(job("plain"), 30).output == '"plain"'
    assert json.loads(running.run(job({"a": [1]}), 30).output) == {"a": [1]}


def test_its_calls_go_to_the_gateway_as_calls_of_this_attempt(
    listening: Listening, tmp_path: Path
) -> None:
    text = "import os; print(os.environ['OPENAI_BASE_URL'], os.environ['OPENAI_API_KEY'])"
    one = job()
    done = commands(listening, tmp_path, text).run(one, 30)
    url = f"http://127.0.0.1:1/rollout/r1/attempt/{one.attempt}/v1"
    assert json.loads(done.output) == f"{url} k"


def test_a_result_may_be_a_file(listening: Listening, tmp_path: Path) -> None:
    text = "import os; print('chatter'); open(os.environ['HEADRACE_RESULT_FILE'], 'w').write('5')"
    assert commands(listening, tmp_path, text).run(job(), 30).output == '"5"'


def test_an_exit_code_is_the_agents_failure_with_its_last_words(
    listening: Listening, tmp_path: Path
) -> None:
    done = commands(listening, tmp_path, "raise ValueError('no idea')").run(job(), 30)
    assert done.failure is not None
    assert (done.failure.name, done.failure.message) == ("exit code 1", "ValueError: no idea")
    assert "Traceback" in done.failure.trace


def test_its_spans_come_before_the_end_that_the_runner_writes(
    listening: Listening, tmp_path: Path
) -> None:
    text = (
        "from headrace.connectors.sdk import reward, tool\n@tool\ndef f(): return 1\nf()\nreward(1)"
    )
    commands(listening, tmp_path, text).run(job(), 30)
    assert [(s.kind, s.parent_id) for s in listening.spans] == [("tool", ROOT), ("reward", ROOT)]
    assert {s.rollout_id for s in listening.spans} == {"r1"}


def test_at_the_deadline_it_is_asked_and_then_killed_with_all_it_started(
    listening: Listening, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    text = f"""
import os, signal, subprocess, sys, time
from opentelemetry import trace
signal.signal(signal.SIGTERM, lambda *_: open({str(tmp_path / "asked")!r}, "w").close())
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with trace.get_tracer("a").start_as_current_span("open"):
    open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
    while True:
        time.sleep(600)
"""
    running = commands(listening, tmp_path, text, grace_s=0.2)
    with pytest.raises(AgentStuck):
        running.run(job(), 3)
    assert (tmp_path / "asked").exists()
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: not _lives(pid), f"the end of {pid}")  # type: ignore[misc]
    (span,) = listening.spans
    assert (span.name, span.status) == ("open", "error")
    assert "signal 9" in span.output


def test_what_left_its_group_and_runs_on_holds_nobody_up(
    listening: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.connectors.runner.commands._LEFT_S", 0.5)
    pid = tmp_path / "pid"
    text = f"""
import os, time
from opentelemetry import trace
trace.get_tracer("a").start_span("before").end()
if os.fork() == 0:
    os.setsid()
    for number in (0, 1, 2):
        os.close(number)
    trace.get_tracer("a").start_span("daemon").end()
    open({str(pid)!r}, "w").write(str(os.getpid()))
    time.sleep(600)
    os._exit(0)
while not os.path.exists({str(pid)!r}) or not open({str(pid)!r}).read():
    time.sleep(0.01)
print("done")
"""
    done = commands(listening, tmp_path, text).run(job(), 60)
    os.kill(int(pid.read_text()), 9)
    assert json.loads(done.output) == "done"
    assert {span.name for span in listening.spans} == {"before", "daemon"}


def test_a_runner_that_stops_ends_its_agents(listening: Listening, tmp_path: Path) -> None:
    running = commands(listening, tmp_path, "import time; time.sleep(600)")
    threading.Timer(0.3, running.close).start()
    began = time.monotonic()
    with pytest.raises(WorkerDied):
        running.run(job(), 600)
    assert time.monotonic() - began < 60
    with pytest.raises(WorkerDied):
        running.run(job(), 600)


def test_a_task_too_long_for_a_word_is_a_failure_that_says_what_to_do(
    listening: Listening, tmp_path: Path
) -> None:
    done = commands(listening, tmp_path, "pass", "{input}").run(job("x" * 3_000_000), 30)
    assert done.failure is not None
    assert "--input stdin" in done.failure.message
    done = commands(listening, tmp_path, "pass", "{input}").run(job("a\0b"), 30)
    assert done.failure is not None
    assert list((tmp_path / "attempts").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (("no-such-program", "{input}"), {}),
        (("python3",), {}),
        (("python3", "{input}"), {"input": "stdin"}),
    ],
)
def test_a_command_that_cannot_work_is_refused_before_the_first_task(
    words: tuple[str, ...], settings: dict[str, Any]
) -> None:
    with pytest.raises(AgentUnusable):
        check_command(CommandAgent(words=words, **settings))


@given(st.lists(st.text(), min_size=1), st.text())
def test_words_stay_words(words: list[str], put_in: str) -> None:
    values = {"input": put_in, "model": "m", "rollout": "r"}
    made = filled(words, values)
    assert len(made) == len(words)
    assert filled(["{input}"], values) == [put_in]


@pytest.mark.parametrize("text", ["", "   ", "'open"])
def test_a_command_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandUnusable):
        words_of(text)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python agent.py {input}", "agent"),
        ("python -m mail.agent", "mail.agent"),
        ("uv run bots/one.py -m x", "one"),
        ("/opt/agent --fast", "agent"),
        ("/opt/agent", "agent"),
        ("python -m", "python"),
    ],
)
def test_an_agent_is_called_as_its_file(command: str, name: str) -> None:
    assert agent_name(words_of(command)) == name


@given(st.text())
def test_a_result_is_always_json(text: str) -> None:
    result = result_of(text)
    assert not text.strip() or isinstance(json.loads(result), (str, list, dict))
    assert result_of(' {"a": 1} ') == '{"a": 1}'
    assert result_of("42") == '"42"'
    assert result_of("[broken") == '"[broken"'


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
