"""Agents of each framework, as its documentation writes them, leave whole episodes.

A framework without its environment is skipped: `make frameworks ONLY=langchain` makes one.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from tests.frameworks.scripted import ANSWER, ARGUMENTS, EXAMPLES, QUESTION, python_of
from tests.frameworks.yields import BROKEN, FRAMEWORKS

if TYPE_CHECKING:
    from tests.frameworks.conftest import Episode, Lab


def needs(framework: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not python_of(framework).exists(),
        reason=f"{framework} has no environment: make frameworks ONLY={framework}",
    )


def of_frameworks(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "framework", [pytest.param(name, marks=needs(name)) for name in names]
    )


every = of_frameworks(*FRAMEWORKS)
handing_over = of_frameworks(*(name for name, told in FRAMEWORKS.items() if told.handoff))


def above(episode: Episode, span: dict[str, Any]) -> list[str]:
    """Names of the spans above one, below the start of the attempt, the outermost first."""
    by_id = {one["span_id"]: one for one in episode.spans}
    names: list[str] = []
    parent = by_id[span["parent_id"]]
    while parent["kind"] != "attempt.start":
        names.insert(0, parent["name"])
        parent = by_id[parent["parent_id"]]
    return names


def matches(names: list[str], patterns: tuple[str, ...]) -> bool:
    pairs = zip(names, patterns, strict=False)
    return len(names) == len(patterns) and all(fnmatchcase(*pair) for pair in pairs)


def check_calls(episode: Episode, untrainable: str = "") -> None:
    """Each model call is one span, with its tokens and version, in the tree of the attempt."""
    calls = episode.of("call")
    assert len(calls) == len(episode.calls) == len({call["response_id"] for call in calls})
    for call in calls:
        assert (call["policy"], call["run_versions"]) == ("assistant", [0])
        assert len(call["sampled_ids"]) == len(call["logprobs"]) > 0
        assert (call["trainable"], call["untrainable_reason"]) == (not untrainable, untrainable)
    for placed in episode.calls:
        above(episode, placed)


@every
def test_an_agent_with_a_tool_is_an_episode(lab: Lab, framework: str) -> None:
    told = FRAMEWORKS[framework]
    episode = lab.run(framework, "agent.py", QUESTION)
    assert episode.exit_code == 0, episode.output
    [start], [end] = episode.of("attempt.start"), episode.of("attempt.end")
    assert start["parent_id"] == ""
    assert (end["status"], json.loads(end["output"])) == ("ok", ANSWER)
    assert (episode.row["status"], episode.row["signals"]) == ("ok", {})
    check_calls(episode, told.untrainable)
    prompts = [json.loads(call["attributes"])["headrace.prompt"] for call in episode.of("call")]
    assert prompts == [*told.prompts]
    assert {call["agent"] for call in episode.calls} == {told.agent}
    assert matches(above(episode, episode.calls[0]), told.above), above(episode, episode.calls[0])


@every
def test_its_tools_are_spans_with_arguments_and_results(lab: Lab, framework: str) -> None:
    told = FRAMEWORKS[framework]
    episode = lab.run(framework, "agent.py", QUESTION)
    tools = episode.of("tool")
    assert [tool["name"] for tool in tools] == [*told.tools]
    if not tools:
        asked = json.loads(episode.of("call")[0]["attributes"])["gen_ai.output.messages"]
        assert json.loads(asked[0]["parts"][-1]["arguments"]) == {"a": 6, "b": 7}
        return
    first = tools[0]
    assert (json.loads(first["input"]), first["output"]) == ({"a": 6, "b": 7}, "42")
    assert {tool["status"] for tool in tools} == {"ok"}
    patterns = told.above if told.tool_above is None else told.tool_above
    assert matches(above(episode, first), patterns), above(episode, first)


@every
def test_a_tool_that_fails_is_told(lab: Lab, framework: str) -> None:
    told = FRAMEWORKS[framework]
    episode = lab.run(framework, "failing.py", QUESTION)
    assert (episode.exit_code != 0) == told.raises, episode.output
    assert episode.row["status"] == ("error" if told.raises else "ok")
    check_calls(episode, told.untrainable)
    if told.raises:
        [end] = episode.of("attempt.end")
        assert json.loads(end["attributes"])["error.message"].endswith(f"ValueError: {BROKEN}")
    if not told.tools:
        [raised] = episode.of("exception")
        assert (raised["name"], raised["status"]) == ("ValueError", "error")
        assert BROKEN in raised["output"]
        return
    failed = [tool for tool in episode.of("tool") if tool["status"] == "error"]
    assert [tool["name"] for tool in failed] == [told.tools[0]]
    assert json.loads(failed[0]["input"]) == {"a": 6, "b": 7}
    assert told.error in failed[0]["output"] + failed[0]["attributes"]
    assert episode.row["signals"]["tool_errors"] == 1


@handing_over
def test_agents_that_hand_over_keep_their_names(lab: Lab, framework: str) -> None:
    told = FRAMEWORKS[framework]
    episode = lab.run(framework, "handoff.py", QUESTION)
    assert episode.exit_code == 0, episode.output
    assert json.loads(episode.row["result"]) == ANSWER
    check_calls(episode, told.untrainable)
    assert [call["agent"] for call in episode.calls] == [*told.handoff]


@needs("openai-agents")
def test_the_chat_api_of_the_agents_sdk_is_the_same_episode(lab: Lab) -> None:
    episode = lab.run("openai-agents", "chat.py", QUESTION)
    assert episode.exit_code == 0, episode.output
    check_calls(episode)
    assert len(episode.calls) == 2
    [tool] = episode.of("tool")
    assert json.loads(tool["input"]) == {name: ARGUMENTS[name] for name in "ab"}


def test_each_example_is_in_the_table() -> None:
    examples = {path.parent.name for path in EXAMPLES.glob("*/agent.py")}
    assert set(FRAMEWORKS) == examples - {"agentlightning"}  # a tracer: it has no tools of its own
    for name, told in FRAMEWORKS.items():
        scripts = {path.stem for path in (EXAMPLES / name).glob("*.py")}
        assert {"agent", "failing"} <= scripts
        assert ("handoff" in scripts) == bool(told.handoff)
