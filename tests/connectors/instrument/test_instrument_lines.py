"""`reward`, `tool` and `span`: in a function of a runner's, under `headrace run`, alone."""

import asyncio
import logging
import math
from pathlib import Path

import pytest

from headrace.connectors.sdk import Attempt, SdkConfig, reward, span, tool
from tests.connectors.instrument.watched import Listening, Workplace
from tests.connectors.sdk.memory import Broker

AGENT = """
import asyncio
from headrace.connectors.sdk import reward, span, tool

@tool
def add(a, b=2):
    return a + b

@tool("search", {"query": "otters"})
def search():
    raise LookupError("none")

@tool
async def slow(seconds):
    await asyncio.sleep(seconds)
    return {"slept": seconds}

async def cut_off():
    try:
        await asyncio.wait_for(slow(60), 0.01)
    except TimeoutError:
        pass

def agent():
    with span("plan", tries=3) as here:
        assert add(1) == 3
        here.attributes["steps"] = ["a"]
    try:
        search()
    except LookupError:
        pass
    assert asyncio.run(slow(0)) == {"slept": 0}
    asyncio.run(cut_off())
    reward(0.5, name="quality")
    reward("much")
"""
NAMES = ["add", "search", "slow", "slow"]


@pytest.fixture
def listening(tmp_path: Path) -> Listening:
    config = SdkConfig(bootstrap="memory", registry_url="memory", close_timeout_s=0.05)
    return Listening(config, Broker())


def test_they_are_seen_under_headrace_run(workplace: Workplace) -> None:
    seen = workplace.run(AGENT + "\nagent()\nprint('ran')\n")
    assert seen.output == "ran\n"
    tools = [s for s in seen.spans if s.kind == "tool"]
    assert sorted(s.name.removeprefix("execute_tool ") for s in tools) == NAMES
    added = next(s for s in tools if s.name.endswith("add"))
    assert (added.input, added.output) == ('{"a": 1}', "3")
    assert added.parent_id == seen.named("plan").span_id
    assert [s.status == "error" for s in tools] == [False, True, False, True]
    rewards = [s.reward for s in seen.spans if s.reward is not None]
    assert [(one.name, one.value) for one in rewards][:1] == [("quality", 0.5)]
    assert math.isnan(rewards[1].value)


def test_they_are_seen_in_a_function_that_a_runner_calls(listening: Listening) -> None:
    names: dict[str, object] = {}
    exec(AGENT, names)
    agent = names["agent"]
    assert callable(agent)
    with Attempt(listening, "r1"):
        agent()
    listening.close()
    tools = [s for s in listening.spans if s.kind == "tool"]
    assert sorted(s.name for s in tools) == NAMES
    assert [s.status for s in tools] == ["ok", "error", "ok", "error"]
    (plan,) = [s for s in listening.spans if s.name == "plan"]
    assert plan.attributes == '{"tries": 3, "steps": ["a"]}'
    assert next(s.reward.value for s in listening.spans if s.reward is not None) == 0.5


def test_alone_the_agent_runs_as_without_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="headrace.connectors.sdk.lines")
    names: dict[str, object] = {}
    exec(AGENT, names)
    agent = names["agent"]
    assert callable(agent)
    agent()
    agent()
    assert len([r for r in caplog.records if "outside of any attempt" in r.message]) <= 3


def test_a_decorated_function_may_run_side_by_side_and_call_itself(listening: Listening) -> None:
    @tool
    async def count(down: int) -> int:
        return down if not down else await count(down - 1)

    async def side_by_side() -> list[int]:
        return await asyncio.gather(*(count(n) for n in range(4)))

    with Attempt(listening, "r1"):
        assert asyncio.run(side_by_side()) == [0, 0, 0, 0]
        with span("outer"), span("inner"):
            reward(1)
    listening.close()
    assert len([s for s in listening.spans if s.kind == "tool"]) == 10
