"""The runner's parts without Kafka: offsets, calling agents, worker processes."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.runner import AgentUnusable, RunnerConfig
from headrace.connectors.runner.agent import call_agent, load_agent
from headrace.connectors.runner.jobs import AgentStuck, Job, WorkerDied
from headrace.connectors.runner.pool import Pool
from headrace.connectors.runner.unfinished import Unfinished
from headrace.connectors.sdk import SdkConfig
from headrace.connectors.settings import BadSettings

AGENTS = """
import asyncio, os, sys, threading

def echo(task_input, *, base_url, api_key):
    return {"input": task_input, "url": base_url, "key": api_key}

async def later(task_input, *, base_url, api_key, model="mine"):
    await asyncio.sleep(0)
    return model

def fail(task_input, *, base_url, api_key):
    raise ValueError("no " + str(task_input))

def leave(task_input, *, base_url, api_key):
    sys.exit(3)

def die(task_input, *, base_url, api_key):
    os._exit(9)

def hang(task_input, *, base_url, api_key):
    threading.Event().wait()

def pid(task_input, *, base_url, api_key):
    return os.getpid()

def proxies(task_input, *, base_url, api_key):
    return [os.environ["NO_PROXY"], os.environ["HTTP_PROXY"]]

def headers(task_input, *, base_url, api_key):
    return [os.environ["OPENAI_CUSTOM_HEADERS"], os.environ["ANTHROPIC_CUSTOM_HEADERS"]]

def nothing(task_input, *, base_url, api_key):
    return None

class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")

def silent(task_input, *, base_url, api_key):
    raise Silent

class Interrupting(Exception):
    def __str__(self):
        raise KeyboardInterrupt

def interrupting(task_input, *, base_url, api_key):
    raise Interrupting

class Unasked:
    def __getattribute__(self, name):
        raise RuntimeError(name)

def odd(task_input, *, base_url, api_key):
    return {(1, 2): Unasked(), "digits": 10**5000}

def unasked(task_input, *, base_url, api_key):
    return Unasked()

constant = 3
"""
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"agents_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(AGENTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def job(agent: str, key: int = 0, **fields: Any) -> Job:
    defaults: dict[str, Any] = {
        "task_input": '"hello"',
        "base_url": "http://g/v1",
        "gateway_url": "http://g",
        "api_key": "k",
        "model": "",
        "pinned": False,
        "project": "default",
        "rollout_id": "r1",
        "attempt": "a1",
        "root": "00000000000000aa",
        "end_id": "00000000000000bb",
        "subject": None,
    }
    return Job(key=key, agent=agent, **(defaults | fields))


@settings(deadline=None)
@given(st.permutations(range(8)), st.integers(0, 8))
def test_only_what_has_finished_without_a_gap_is_committed(order: list[int], finished: int) -> None:
    offsets = Unfinished()
    for offset in range(8):
        offsets.started(0, offset)
    for offset in order[:finished]:
        offsets.finished(0, offset)
    running = set(order[finished:])
    expected = min(running, default=8)
    assert offsets.committable() == ({0: expected} if expected else {})
    assert offsets.committable() == {}


def test_a_lost_partition_is_not_committed() -> None:
    offsets = Unfinished()
    offsets.started(0, 5)
    offsets.lost([0])
    offsets.finished(0, 5)
    assert offsets.committable() == {}


def test_an_agent_gets_its_input_its_address_and_nothing_else(agents: str) -> None:
    assert call_agent(job(f"{agents}:echo")).text == (
        '{"input": "hello", "url": "http://g/v1", "key": "k"}'
    )
    assert call_agent(job(f"{agents}:nothing")).text == ""


def test_the_model_is_given_to_agents_that_ask_for_one(agents: str) -> None:
    assert call_agent(job(f"{agents}:later", model="p@3", pinned=True)).text == '"p@3"'
    assert call_agent(job(f"{agents}:later")).text == '"mine"'
    assert "hello" in call_agent(job(f"{agents}:echo", model="p")).text
    with pytest.raises(AgentUnusable, match="pins p@3"):
        call_agent(job(f"{agents}:echo", model="p@3", pinned=True))


@pytest.mark.parametrize("name", ["nocolon", "no.such.module:run", "json:nothing_there"])
def test_an_agent_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(AgentUnusable, match=name.replace(".", r"\.")):
        load_agent(name)


def test_an_agent_that_is_no_function_is_named(agents: str) -> None:
    with pytest.raises(AgentUnusable, match="not a function"):
        load_agent(f"{agents}:constant")


@pytest.mark.parametrize(
    "settings",
    [{"processes": 0}, {"agent": "nocolon"}, {"attempt_timeout_s": 0}, {"pause_after": 0}],
)
def test_a_bad_setting_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match=next(iter(settings))):
        RunnerConfig(
            kafka=KafkaAccess(bootstrap="b"),
            registry=RegistryAccess(url="http://r"),
            gateway_url="g",
            **settings,
        )


@pytest.fixture
def pool(agents: str) -> Iterator[Pool]:
    running = Pool(SdkConfig(bootstrap="127.0.0.1:1", registry_url="http://127.0.0.1:1"), 2)
    yield running
    running.close()


@pytest.mark.integration
def test_workers_live_through_results_exceptions_and_exits(pool: Pool, agents: str) -> None:
    before = set(pool.pids())
    seen = set()
    for key in range(0, 12, 3):
        seen.add(pool.run(job(f"{agents}:pid", key), WAIT_S).output)
        failed = pool.run(job(f"{agents}:fail", key + 1), WAIT_S).failure
        assert failed is not None
        assert (failed.name, failed.message) == ("ValueError", "no hello")
        assert "raise ValueError" in failed.trace
        left = pool.run(job(f"{agents}:leave", key + 2), WAIT_S).failure
        assert left is not None
        assert left.name == "SystemExit"
    assert {int(pid) for pid in seen} <= before == set(pool.pids())


@pytest.mark.integration
def test_agents_reach_the_gateway_without_a_proxy(
    agents: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "corp.example")
    monkeypatch.delenv("no_proxy", raising=False)
    running = Pool(SdkConfig(bootstrap="127.0.0.1:1", registry_url="http://127.0.0.1:1"), 1)
    try:
        asked = job(f"{agents}:proxies", base_url="http://127.0.0.5:8000/v1")
        excepted, proxy = json.loads(running.run(asked, WAIT_S).output)
    finally:
        running.close()
    assert proxy == "http://127.0.0.1:9"
    assert excepted == "corp.example,localhost,127.0.0.1,::1,127.0.0.0/8,127.0.0.5"


@pytest.mark.integration
def test_agents_tell_the_gateway_what_is_hidden(
    agents: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-mine: 1")
    monkeypatch.setenv("OPENINFERENCE_HIDE_INPUTS", "true")
    running = Pool(SdkConfig(bootstrap="127.0.0.1:1", registry_url="http://127.0.0.1:1"), 1)
    try:
        told = json.loads(running.run(job(f"{agents}:headers"), WAIT_S).output)
    finally:
        running.close()
    assert told == ["x-mine: 1\nx-headrace-hide: inputs", "x-headrace-hide: inputs"]


@pytest.mark.integration
def test_an_exception_that_cannot_be_told_ends_its_job_with_its_type(
    pool: Pool, agents: str
) -> None:
    for key, name in enumerate(["silent", "interrupting"]):
        failure = pool.run(job(f"{agents}:{name}", key), WAIT_S).failure
        assert failure is not None
        assert failure.name in ("Silent", "KeyboardInterrupt")


@pytest.mark.integration
def test_a_result_that_json_cannot_hold_is_told_as_far_as_it_goes(pool: Pool, agents: str) -> None:
    odd = pool.run(job(f"{agents}:odd"), WAIT_S)
    assert (odd.failure, odd.replaced) == (None, 3)
    assert "5001 digits" in odd.output
    unasked = pool.run(job(f"{agents}:unasked", 1), WAIT_S)
    assert (unasked.failure, unasked.replaced) == (None, 1)


@pytest.mark.integration
def test_a_process_that_dies_takes_its_jobs_along_and_is_replaced(pool: Pool, agents: str) -> None:
    with pytest.raises(WorkerDied, match="ended with 9"):
        pool.run(job(f"{agents}:die"), WAIT_S)
    for key in range(1, 5):
        assert pool.run(job(f"{agents}:pid", key), WAIT_S).output

    with ThreadPoolExecutor(1) as executor:
        hanging = executor.submit(pool.run, job(f"{agents}:hang", 9), WAIT_S)
        for pid in pool.pids():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            hanging.result(WAIT_S)


@pytest.mark.integration
def test_a_stuck_agent_costs_its_process_but_not_its_neighbours(pool: Pool, agents: str) -> None:
    before = set(pool.pids())
    with ThreadPoolExecutor(2) as executor:
        neighbours = [executor.submit(pool.run, job(f"{agents}:hang", k), 3.0) for k in (1, 2)]
        with pytest.raises(AgentStuck):
            pool.run(job(f"{agents}:hang", 3), 0.1)
        assert len(set(pool.pids()) - before) == 1
        done = pool.run(job(f"{agents}:pid", 4), WAIT_S)
        assert int(done.output) not in before - set(pool.pids())
        for neighbour in neighbours:  # they had their own time
            with pytest.raises(AgentStuck):
                neighbour.result(WAIT_S)
    assert not before & set(pool.pids())


@pytest.mark.integration
def test_closing_ends_what_runs(pool: Pool, agents: str) -> None:
    started = threading.Event()

    def run() -> str:
        started.set()
        try:
            pool.run(job(f"{agents}:hang"), WAIT_S)
        except WorkerDied:
            return "died"
        return "done"

    with ThreadPoolExecutor(1) as executor:
        hanging = executor.submit(run)
        assert started.wait(WAIT_S)
        pool.close()
        assert hanging.result(WAIT_S) == "died"
    with pytest.raises(WorkerDied, match="stopping"):
        pool.run(job(f"{agents}:pid"), WAIT_S)
