"""Attempts in processes of their own: what limits they have, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.commands.errors import JournalError
from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.runner import CommandAgent, RunnerConfig
from headrace.connectors.runner.attempts import TaskRunner
from headrace.connectors.runner.commands import Commands
from headrace.connectors.runner.isolated import Isolated
from headrace.connectors.runner.jobs import Workers
from headrace.connectors.runner.limits import NO_LIMITS, Limits, processes_of
from headrace.connectors.runner.retries import How
from headrace.connectors.runner.scratch import Scratch
from headrace.connectors.sdk import SdkConfig
from headrace.schemas import Span, Task, new_ulid
from tests.connectors.instrument.watched import Listening
from tests.connectors.sdk.memory import Broker
from tests.support.waiting import wait_until

WAIT_S = 60.0
AGENTS = """
import os, subprocess, sys, tempfile, threading, time
from pathlib import Path

def memory(task_input, **_):
    bytes(10_000_000_000)

def processor(task_input, **_):
    while True:
        pass

def files(task_input, **_):
    held = [open(os.devnull) for _ in range(1_000)]

def forks(task_input, **_):
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = [subprocess.Popen(sleeping) for _ in range(6)]
    Path(task_input).write_text(" ".join(str(each.pid) for each in started))
    time.sleep(600)

def writes(task_input, **_):
    scratch = Path(os.environ["HEADRACE_SCRATCH"])
    (scratch / "mine").write_text("x")
    handle, made = tempfile.mkstemp()
    os.chmod(scratch / "mine", 0)
    return [str(scratch), str(Path(made).parent), os.getcwd()]

def die(task_input, **_):
    os._exit(9)

def hang(task_input, **_):
    Path(task_input).write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)
"""
Make = Callable[..., TaskRunner]


@pytest.fixture
def listening() -> Iterator[Listening]:
    config = SdkConfig(bootstrap="memory", registry_url="memory", close_timeout_s=0.05)
    telemetry = Listening(config, Broker())
    yield telemetry
    telemetry.close()


@pytest.fixture(params=["function", "command"])
def make(
    request: pytest.FixtureRequest,
    listening: Listening,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Make]:
    """`make(agent, **limits)`: a runner of one of the agents, in both forms."""
    module = f"limit_agents_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(AGENTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made: list[Workers] = []

    def runner(agent: str, **limits: Any) -> TaskRunner:
        known: dict[str, Any] = {
            "kafka": KafkaAccess(bootstrap="b"),
            "registry": RegistryAccess(url="http://r"),
            "gateway_url": "http://127.0.0.1:1",
            **limits,
        }
        held, scratch = Limits(**limits), tmp_path / "scratch"
        workers: Workers
        if request.param == "function":
            config = RunnerConfig(agent=f"{module}:{agent}", **known)
            sdk = SdkConfig(bootstrap="127.0.0.1:1", registry_url="http://127.0.0.1:1")
            workers = Isolated(sdk, held, scratch)
        else:
            code = f"import json, sys, {module}\nprint(json.dumps({module}.{agent}(sys.argv[1])))"
            command = CommandAgent(words=(sys.executable, "-c", code, "{input}"), grace_s=0.2)
            config = RunnerConfig(command=command, journals=tmp_path / "attempts", **known)
            workers = Commands(command, listening, tmp_path / "attempts", held, scratch)
        made.append(workers)
        running = TaskRunner(config, listening, workers, threading.Event())
        running.cancellations.known.set()
        return running

    yield runner
    for workers in made:
        workers.close()


def end_of(listening: Listening) -> Span:
    return next(span for span in listening.spans if span.kind == "attempt.end")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("agent", "limit", "allowed"),
    [
        ("memory", "memory_mb", 2_000),
        ("processor", "cpu_s", 1),
        ("files", "open_files", 100),
        ("forks", "max_processes", 3),
    ],
)
def test_the_end_of_an_attempt_that_met_a_limit_says_which(
    make: Make, listening: Listening, tmp_path: Path, agent: str, limit: str, allowed: int
) -> None:
    runner = make(agent, **{limit: allowed})
    pids = tmp_path / "pids"
    ended = runner.run(Task(rollout_id=new_ulid(), input=json.dumps(str(pids))))
    assert ended.how == How.FAILED, "its agent's doing: a result"
    end = end_of(listening)
    told = json.loads(end.attributes)
    assert (end.status, told["headrace.ended_by"]) == ("error", limit)
    assert f"[runner] {limit} = {allowed}" in told["headrace.why"]
    assert [span.name for span in listening.spans if span.kind == "event"] == ["limit"]
    for pid in map(int, pids.read_text().split()) if pids.exists() else ():
        wait_until(lambda pid=pid: not _lives(pid), f"the end of {pid}")  # type: ignore[misc]


@pytest.mark.integration
def test_each_attempt_has_a_folder_of_its_own_that_goes_with_it(
    make: Make, listening: Listening, tmp_path: Path
) -> None:
    runner = make("writes")
    seen = []
    for _ in range(2):
        listening.spans.clear()
        assert runner.run(Task(rollout_id=new_ulid(), input='"x"')).how == How.OK
        seen.append(json.loads(end_of(listening).output))
    scratches = {scratch for scratch, _, _ in seen}
    assert len(scratches) == 2
    assert all(Path(scratch).is_relative_to(tmp_path / "scratch") for scratch in scratches)
    assert all(scratch == temporary for scratch, temporary, _ in seen)
    assert all(here == str(Path.cwd()) for _, _, here in seen), "where it was started"
    assert not any(Path(scratch).exists() for scratch in scratches)


@pytest.mark.integration
def test_an_attempt_that_hangs_or_is_cancelled_is_gone_at_once_with_its_process(
    make: Make, listening: Listening, tmp_path: Path
) -> None:
    runner = make("hang")
    for ending in ("deadline", "cancelled"):
        pid = tmp_path / f"pid-{ending}"
        task = Task(rollout_id=new_ulid(), input=json.dumps(str(pid)), cancelled="by hand")
        with ThreadPoolExecutor(1) as executor:
            deadline = int((time.time() + 5) * 1000) if ending == "deadline" else 0
            asked = Task(rollout_id=task.rollout_id, input=task.input, deadline=deadline)
            running = executor.submit(runner.run, asked)
            wait_until(lambda pid=pid: pid.exists() and pid.read_text() != "", "the agent")  # type: ignore[misc]
            if ending == "cancelled":
                runner.cancellations.cancel(task)
            assert running.result(WAIT_S).how == ending
        wait_until(lambda pid=pid: not _lives(int(pid.read_text())), "its end")  # type: ignore[misc]


@pytest.mark.integration
def test_a_function_that_ends_its_process_takes_nobody_along(
    listening: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying_agents.py").write_text(AGENTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sdk = SdkConfig(bootstrap="127.0.0.1:1", registry_url="http://127.0.0.1:1")
    workers = Isolated(sdk, NO_LIMITS, tmp_path / "scratch")
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap="b"),
        registry=RegistryAccess(url="http://r"),
        gateway_url="http://127.0.0.1:1",
        agent="dying_agents:die",
        isolate=True,
        retry="never",
    )
    runner = TaskRunner(config, listening, workers, threading.Event())
    runner.cancellations.known.set()
    assert runner.run(Task(rollout_id=new_ulid(), input="1")).how == How.DIED
    told = json.loads(end_of(listening).attributes)
    assert told == {
        "headrace.ended_by": "died",
        "headrace.why": "its process ended with exit code 9",
    }
    workers.close()


@pytest.mark.parametrize(
    ("limits", "words", "limit"),
    [
        (Limits(memory_mb=1), ("MemoryError", ""), "memory_mb"),
        (Limits(memory_mb=1), ("exit code 134", "what():  std::bad_alloc"), "memory_mb"),
        (Limits(), ("MemoryError", ""), ""),
        (Limits(open_files=9), ("OSError", "[Errno 24] Too many open files: 'x'"), "open_files"),
        (Limits(memory_mb=1), ("OSError", "[Errno 24] Too many open files: 'x'"), ""),
        (Limits(cpu_s=1), (f"signal {int(signal.SIGXCPU)}", ""), "cpu_s"),
        (Limits(cpu_s=1), ("ValueError", "no idea"), ""),
    ],
)
def test_a_limit_is_blamed_only_where_it_is_set_and_the_failure_is_its_sign(
    limits: Limits, words: tuple[str, str], limit: str
) -> None:
    assert limits.broken_by(*words) == limit


def test_processes_are_counted_by_their_session() -> None:
    sleeping = subprocess.Popen(
        ["sh", "-c", "sleep 600 & sleep 600 & wait"], start_new_session=True
    )
    try:
        wait_until(lambda: processes_of(sleeping.pid) == 3, "the shell and what it started")
    finally:
        os.killpg(sleeping.pid, signal.SIGKILL)
        sleeping.wait()
    wait_until(lambda: processes_of(sleeping.pid) == 0, "their end")


def test_what_a_killed_runner_left_goes_when_the_next_one_starts(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal, pathlib\n"
        "from headrace.connectors.runner.scratch import Scratch\n"
        "with Scratch(pathlib.Path(sys.argv[1])).folder('a') as folder:\n"
        "    (folder / 'left').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    lives = Scratch(tmp_path)
    with lives.folder("b") as kept:
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        assert list(tmp_path.glob("*/a/left"))
        following = Scratch(tmp_path)
        assert not list(tmp_path.glob("*/a/left"))
        assert kept.exists(), "its runner lives"
        following.close()
    lives.close()
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_that_cannot_be_made_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"file.*\[data\] directory"):
        Scratch(tmp_path / "file")
    scratch = Scratch(tmp_path / "scratch")
    with scratch.folder("a"), pytest.raises(JournalError), scratch.folder("a"):
        pass  # an attempt's id is its own


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
