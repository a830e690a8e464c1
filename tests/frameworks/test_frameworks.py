"""Agents of each framework, as its documentation writes them, leave whole episodes.

A framework without its environment is skipped: `make frameworks ONLY=langchain` makes one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.frameworks.scripted import ANSWER, python_of

if TYPE_CHECKING:
    from tests.frameworks.conftest import Episode, Lab

QUESTION = "What is 6 times 7?"


@dataclass(kw_only=True, frozen=True)
class Yields:
    """What a framework tells of its own; what the gateway tells holds for all."""

    tool: bool = True
    """Whether the tool is a span of its own, with arguments and result."""
    agents: bool = True
    """Whether calls have the name of the agent that made them."""
    calls: int = 2
    """Model calls of the tool-using agent."""
    tools: int = 1
    """Spans of one use of a tool: AutoGen's own says neither arguments nor result."""
    prompt: str = "extended"
    """How the second call's prompt is made of the first's."""


FRAMEWORKS = {
    "openai": Yields(tool=False, agents=False),
    "langchain": Yields(),
    "openai-agents": Yields(),
    # It reflects on the tool's result without being told of tools again: another prompt.
    "autogen": Yields(tools=2, prompt="rewritten"),
}


def needs(framework: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not python_of(framework).exists(),
        reason=f"{framework} has no environment: make frameworks ONLY={framework}",
    )


every = pytest.mark.parametrize(
    "framework", [pytest.param(name, marks=needs(name)) for name in FRAMEWORKS]
)


def by_id(episode: Episode) -> dict[str, dict[str, Any]]:
    return {span["span_id"]: span for span in episode.spans}


def check_calls(episode: Episode, count: int) -> None:
    """Each model call is one span, with its tokens and version, in the tree of the attempt."""
    calls = episode.of("call")
    assert len(calls) == count == len(episode.calls), [c["attributes"] for c in calls]
    assert len({call["response_id"] for call in calls}) == count
    for call in calls:
        assert (call["policy"], call["run_versions"]) == ("assistant", [0])
        assert len(call["sampled_ids"]) == len(call["logprobs"]) > 0
        assert call["trainable"], call["untrainable_reason"]
    for call in episode.calls:
        assert call["parent_id"] in by_id(episode)


@every
def test_an_agent_with_a_tool_is_an_episode(lab: Lab, framework: str) -> None:
    told = FRAMEWORKS[framework]
    episode = lab.run(framework, "agent.py", QUESTION)
    assert episode.exit_code == 0, episode.output
    assert ANSWER in episode.output
    [start], [end] = episode.of("attempt.start"), episode.of("attempt.end")
    assert (end["status"], json.loads(end["output"])) == ("ok", ANSWER)
    assert episode.row["status"] == "ok"
    check_calls(episode, told.calls)
    first, second = episode.of("call")[:2]
    assert first["finish_reason"] == "tool_calls"
    [message] = json.loads(first["attributes"])["gen_ai.output.messages"]
    assert json.loads(message["parts"][-1]["arguments"]) == {"a": 6, "b": 7}
    assert json.loads(second["attributes"])["headrace.prompt"] == told.prompt
    if told.tool:
        told_tools = episode.of("tool")
        assert len(told_tools) == told.tools
        tool = max(told_tools, key=lambda one: len(one["input"]))
        assert "multiply" in tool["name"]
        assert ("6" in tool["input"], "7" in tool["input"]) == (True, True)
        assert "42" in tool["output"]
        assert tool["status"] == "ok"
        assert tool["parent_id"] in by_id(episode)
    if told.agents:
        assert {one["agent"] for one in episode.calls} == {"mathematician"}
    assert start["parent_id"] == ""


@every
def test_agents_that_hand_over_keep_their_names(lab: Lab, framework: str) -> None:
    episode = lab.run(framework, "handoff.py", QUESTION)
    assert episode.exit_code == 0, episode.output
    check_calls(episode, 2)
    assert [call["agent"] for call in episode.calls] == ["triage", "mathematician"]


@needs("openai-agents")
def test_the_chat_api_of_the_agents_sdk_is_the_same_episode(lab: Lab) -> None:
    episode = lab.run("openai-agents", "chat.py", QUESTION)
    assert episode.exit_code == 0, episode.output
    check_calls(episode, 2)
    assert len(episode.of("tool")) == 1
