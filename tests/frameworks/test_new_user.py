"""A new user's first hour: the first example with a tool of a framework's documentation is pasted,
run, looked at, and trained, by the commands that docs/agents.md tells."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from headrace.infra.embedded.models import tiny_llama
from tests.e2e.reader import Reader
from tests.frameworks.scripted import python_of

PASTED = '''
from langchain.agents import create_agent


def get_weather(city: str) -> str:
    """Get weather for a given city."""
    return f"It's always sunny in {city}!"


agent = create_agent(
    model="openai:gpt-5.5",
    tools=[get_weather],
    system_prompt="You are a helpful assistant",
)
result = agent.invoke(
    {"messages": [{"role": "user", "content": "What's the weather in San Francisco?"}]}
)
print(result["messages"][-1].content)
'''
"""https://docs.langchain.com/oss/python/langchain/quickstart; one line prints the text."""
ASKED = '"What\'s the weather in San Francisco?"'
SETTINGS = """
[trainer]
group_size = 2
groups_per_step = 1
max_versions = 1
threads = 1

[credit]
rule = "my_rewards:length"
"""
REWARDS = """
from headrace.schemas import Episode
from headrace.streams.reward import reward


@reward(version="1")
def length(episode: Episode) -> float | None:
    return len(episode.result or "") % 97 / 97
"""
"""A model that never learned to speak says each time something else: its rewards differ."""
TREE = "SELECT kind, name, agent, status FROM spans FINAL ORDER BY started_at"
PYTHON = python_of("langchain")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not PYTHON.exists(),
        reason="langchain has no environment: make frameworks ONLY=langchain",
    ),
]


def test_a_pasted_example_is_seen_and_trained(tmp_path: Path) -> None:
    folder = tmp_path / "user"
    folder.mkdir()
    with Reader(folder) as user:
        user.environment["OPENAI_API_KEY"] = "sk-of-theirs"
        user.settle(tiny_llama(tmp_path / "model"), more=SETTINGS)
        user.write("my_rewards.py", REWARDS)
        user.write("it.py", PASTED)
        user.type("headrace up --detach").ended(0)

        seen = user.type(f"headrace run -- {PYTHON} it.py").ended(0)
        assert seen.strip()
        user.await_row("SELECT 1 FROM episodes FINAL WHERE state = 'closed'")
        tree = user.type(f'headrace sql "{TREE}"').ended(0)
        for told in ("attempt.start", "invoke_agent", "call", "attempt.end"):
            assert told in tree
        call = user.await_row("SELECT agent, trainable, completion_tokens FROM calls")
        assert (call["agent"], call["trainable"]) == ("it", True)
        assert call["completion_tokens"] > 0

        user.write("it.py", PASTED.replace(ASKED, "sys.argv[1]").replace("\n", "\nimport sys\n", 1))
        asked = [f'{{"input": "Weather in {city}?"}}' for city in ("Paris", "Lima", "Oslo")]
        user.write("tasks.jsonl", "\n".join(asked))
        work = user.start(f'headrace work --command "{PYTHON} it.py {{input}}" --concurrency 2')
        user.type("headrace tasks tasks.jsonl").ended(0)
        trained = user.await_row("SELECT version, parent FROM policies WHERE version = 1")
        assert trained == {"version": 1, "parent": 0}
        stopped = user.interrupt(work, signal.SIGINT)
        assert stopped.code == 0, stopped
        assert "assistant" in user.type("headrace tasks status").ended(0)
        user.type("headrace down").ended(0)
    shutil.rmtree(user.data)  # checkpoints of a real model
