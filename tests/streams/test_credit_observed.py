"""What credit takes from an Episode for its calls: rewards aimed at them, their tools, states."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from headrace.schemas import Episode, EpisodeCall, EpisodeReward, EpisodeTool
from headrace.streams.credit.call.anchors import states_of
from headrace.streams.credit.call.counterfactual import histories_of
from headrace.streams.credit.registry import CALL_METHODS
from headrace.streams.reward import rewards_of_calls
from headrace.streams.reward.tools import tools_of_calls


def episode(*calls: EpisodeCall, **facts: Any) -> Episode:
    return Episode(rollout_id="r", attempt="a", calls=list(calls), **facts)


def asked(*messages: dict[str, Any], agent: str = "solver") -> EpisodeCall:
    return EpisodeCall(span_id="s", agent=agent, input=json.dumps(messages))


def given(target: str, value: float, name: str = "step") -> EpisodeReward:
    return EpisodeReward(name=name, value=value, target=target)


def test_a_reward_finds_its_call_by_span_response_or_call_id() -> None:
    calls = [EpisodeCall(span_id=f"s{k}", response_id=f"chatcmpl-{k}") for k in range(4)]
    rewards = [given("s0", 1), given("chatcmpl-1", 2), given("r/a/s2", 3), given("nobody", 4)]
    found = rewards_of_calls(episode(*calls, rewards=rewards), {})
    assert found == [1, 2, 3, None]


def test_the_last_reward_of_a_name_counts_and_names_add_up_by_weight() -> None:
    rewards = [given("s", 1), given("s", 2), given("s", 10, "style"), given("s", math.nan, "bad")]
    one = episode(EpisodeCall(span_id="s"), rewards=rewards)
    assert rewards_of_calls(one, {}) == [12]
    assert rewards_of_calls(one, {"step": 0.5, "other": 1}) == [1]
    assert rewards_of_calls(one, {"other": 1}) == [None]


def test_a_reward_of_the_episode_is_no_call_s() -> None:
    rewards = [given("", 1), given("r/a", 2)]
    assert rewards_of_calls(episode(EpisodeCall(span_id="s"), rewards=rewards), {}) == [None]


def test_potentials_and_values_are_read_by_their_methods_and_are_no_rewards() -> None:
    rewards = [given("s0", 0.25, "potential"), given("s0", 0.5, "value")]
    one = episode(EpisodeCall(span_id="s0"), EpisodeCall(span_id="s1"), rewards=rewards)
    assert rewards_of_calls(one, {}) == [None, None]
    assert CALL_METHODS.named("potential").observe(one) == ["0.25", ""]
    assert CALL_METHODS.named("turn_gae").observe(one) == ["0.5", ""]


def test_a_tool_belongs_to_its_parent_or_to_the_call_before_it() -> None:
    calls = [
        EpisodeCall(span_id="c0", agent="solver", started_at=10),
        EpisodeCall(span_id="c1", agent="judge", started_at=20),
        EpisodeCall(span_id="c2", agent="solver", started_at=40),
    ]
    tools = [
        EpisodeTool(span_id="t0", started_at=5),
        EpisodeTool(span_id="t1", agent="solver", started_at=30),
        EpisodeTool(span_id="t2", started_at=30),
        EpisodeTool(span_id="t3", parent_id="c0", started_at=50),
        EpisodeTool(span_id="t4", parent_id="elsewhere", agent="solver", started_at=50),
    ]
    found = tools_of_calls(episode(*calls, tools=tools))
    assert [[tool.span_id for tool in each] for each in found] == [["t1", "t3"], ["t2"], ["t4"]]


def test_how_the_tools_of_a_call_fared_is_noted() -> None:
    calls = [EpisodeCall(span_id=f"c{k}", started_at=k) for k in range(3)]
    tools = [
        EpisodeTool(parent_id="c0", status="ok"),
        EpisodeTool(parent_id="c0", status="error"),
        EpisodeTool(parent_id="c1", status="ok"),
    ]
    observed = CALL_METHODS.named("tool_outcome").observe(episode(*calls, tools=tools))
    assert observed == ["failed", "fine", ""]


USER = {"role": "user", "content": "where is the key?"}
ANSWER = {"role": "assistant", "content": "I look."}
SEEN = {"role": "tool", "tool_call_id": "call_1", "content": "a drawer"}


def test_a_state_is_what_was_seen_since_the_last_answer() -> None:
    other = {**ANSWER, "content": "Let me look into it."}
    again = {**SEEN, "tool_call_id": "call_2", "content": "a  drawer\n"}
    first, second = states_of(episode(asked(USER, ANSWER, SEEN), asked(USER, other, again)))
    assert first == second
    assert len(first) == 16


def test_states_differ_by_what_is_seen_and_by_who_sees_it() -> None:
    calls = [
        asked(USER),
        asked(USER, ANSWER, SEEN),
        asked(USER, ANSWER, {**SEEN, "content": "a key"}),
        asked(USER, agent="judge"),
    ]
    assert len(set(states_of(episode(*calls)))) == 4


def test_a_history_is_all_that_was_asked_but_for_ids() -> None:
    def with_tool(number: int, name: str = "look") -> dict[str, Any]:
        call = {"id": f"call_{number}", "function": {"name": name, "arguments": "{}"}}
        return {"role": "assistant", "tool_calls": [call]}

    seen = [{**SEEN, "tool_call_id": f"call_{number}"} for number in (1, 2)]
    first, again, otherwise = histories_of(
        episode(
            asked(USER, with_tool(1), seen[0]),
            asked(USER, with_tool(2), seen[1]),
            asked(USER, with_tool(2, "guess"), seen[1]),
        )
    )
    assert first == again != otherwise


@pytest.mark.parametrize("noted", [states_of, histories_of])
def test_a_state_can_be_had_from_any_input(noted: Callable[[Episode], Sequence[str]]) -> None:
    texts = ["", "where is the key?", '{"a": 1}', "[", "[1, null]", "[" * 5_000, '"\\ud800"']
    states = noted(episode(*[EpisodeCall(input=text) for text in texts]))
    assert states[0] == ""
    assert len(set(states)) == len(texts)
