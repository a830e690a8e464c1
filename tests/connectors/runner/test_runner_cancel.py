"""Tasks that are taken back: what waits is not begun, what runs is ended, whichever comes first."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.runner import CommandAgent, RunnerConfig
from headrace.connectors.runner.attempts import TaskRunner
from headrace.connectors.runner.cancellations import Cancellations
from headrace.connectors.runner.commands import Commands
from headrace.connectors.runner.jobs import Job, JobCancelled, Workers
from headrace.connectors.runner.pool import Pool
from headrace.connectors.runner.retries import How
from headrace.connectors.runner.waiting import Taken, Waiting
from headrace.connectors.sdk import SdkConfig
from headrace.schemas import Task, new_ulid
from tests.connectors.instrument.watched import Listening
from tests.connectors.sdk.memory import Broker
from tests.support.waiting import wait_until

WAIT_S = 60.0
AGENTS = """
import time
from pathlib import Path

def calls_on(task_input, *, base_url, api_key):
    while True:
        Path(task_input).touch()
        time.sleep(0.01)
"""


def task(rollout: str, why: str = "") -> Task:
    return Task(rollout_id=rollout, cancelled=why)


@given(st.lists(st.tuples(st.sampled_from(["cancel", "begin", "end"]), st.sampled_from("ab"))))
def test_what_runs_is_ended_once_and_what_was_cancelled_never_begins(
    events: list[tuple[str, str]],
) -> None:
    core = Cancellations()
    cancelled: set[str] = set()
    open_: dict[str, list[Iterator[None]]] = {"a": [], "b": []}
    ended: list[str] = []

    def one(rollout: str) -> Iterator[None]:
        with core.running(task(rollout), lambda: ended.append(rollout)):
            yield

    for what, rollout in events:
        if what == "cancel":
            news = [] if rollout in cancelled else [rollout] * len(open_[rollout])
            before = len(ended)
            core.cancel(task(rollout, "enough"))
            assert ended[before:] == news
            cancelled.add(rollout)
        elif what == "begin":
            begun = one(rollout)
            if rollout in cancelled:
                with pytest.raises(JobCancelled, match="enough"):
                    next(begun)
            else:
                next(begun)
                open_[rollout].append(begun)
        elif open_[rollout]:
            next(open_[rollout].pop(), None)
    assert {r for r in "ab" if core.why(task(r))} == cancelled


def test_a_task_that_waits_for_another_attempt_need_not_wait_for_its_time() -> None:
    waiting = Waiting()
    for offset, rollout in enumerate("ab"):
        waiting.add(Taken(task=task(rollout), partition=0, offset=offset), 100.0)
    assert waiting.due(1.0) is None
    due = waiting.due(1.0, lambda one: one.rollout_id == "b")
    assert due is not None
    assert due.task.rollout_id == "b"


@pytest.fixture
def listening() -> Iterator[Listening]:
    config = SdkConfig(bootstrap="memory", registry_url="memory", close_timeout_s=0.05)
    telemetry = Listening(config, Broker())
    yield telemetry
    telemetry.close()


@pytest.fixture(params=["function", "command"])
def workers(
    request: pytest.FixtureRequest,
    listening: Listening,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Workers, RunnerConfig]]:
    """Both kinds of workers with an agent that touches a file for ever."""
    name = f"cancel_agents_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(AGENTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    access = {
        "kafka": KafkaAccess(bootstrap="b"),
        "registry": RegistryAccess(url="http://r"),
        "gateway_url": "http://127.0.0.1:1",
    }
    running: Workers
    if request.param == "function":
        running = Pool(SdkConfig(bootstrap="127.0.0.1:1", registry_url="http://127.0.0.1:1"), 1)
        config = RunnerConfig(agent=f"{name}:calls_on", **access)  # type: ignore[arg-type]  # mixed
    else:
        code = f"import sys, {name}\n{name}.calls_on(sys.argv[1], base_url='', api_key='')"
        agent = CommandAgent(words=(sys.executable, "-c", code, "{input}"), grace_s=0.2)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        running = Commands(agent, listening, tmp_path / "attempts")
        config = RunnerConfig(command=agent, journals=tmp_path / "attempts", **access)  # type: ignore[arg-type]  # mixed
    yield running, config
    running.close()


@pytest.mark.integration
def test_an_agent_that_runs_is_ended_and_its_attempt_says_why(
    workers: tuple[Workers, RunnerConfig], listening: Listening, tmp_path: Path
) -> None:
    running, config = workers
    runner = TaskRunner(config, listening, running, threading.Event())
    runner.cancellations.known.set()
    rollout, touched = new_ulid(), tmp_path / "touched"
    with ThreadPoolExecutor(1) as executor:
        ending = executor.submit(runner.run, Task(rollout_id=rollout, input=f'"{touched}"'))
        wait_until(touched.exists, "the agent")
        runner.cancellations.cancel(task(rollout, "wrong tasks"))
        ended = ending.result(WAIT_S)
    assert (ended.how, ended.again_s) == (How.CANCELLED, None)
    *_, event, end = listening.spans
    assert (event.name, event.attributes) == ("cancelled", '{"message": "wrong tasks"}')
    assert (end.kind, end.status) == ("attempt.end", "error")
    # Nor does it go on by itself: its calls would cost what the cancellation was to save.
    wait_until(lambda: _stays_gone(touched), "the end of the agent")
    assert runner.run(Task(rollout_id=rollout, input=f'"{touched}"')).how == How.CANCELLED
    assert not touched.exists(), "it was begun again"
    assert not runner.failures.rest.paused


def _stays_gone(touched: Path) -> bool:
    touched.unlink(missing_ok=True)
    return not threading.Event().wait(0.2) and not touched.exists()


@pytest.mark.integration
def test_a_job_cancelled_before_its_process_has_it_does_not_run(
    workers: tuple[Workers, RunnerConfig], tmp_path: Path
) -> None:
    running, config = workers
    job = Job(
        key=running.new_key(),
        agent=config.agent or "agent",
        task_input=f'"{tmp_path / "touched"}"',
        base_url="http://127.0.0.1:1/v1",
        gateway_url="http://127.0.0.1:1",
        api_key="k",
        model="",
        pinned=False,
        project="default",
        rollout_id="r1",
        attempt=new_ulid(),
        root="00000000000000aa",
        end_id="00000000000000bb",
        subject=None,
    )
    running.cancel(job.key)
    with pytest.raises(JobCancelled):
        running.run(job, WAIT_S)
    assert not (tmp_path / "touched").exists()
