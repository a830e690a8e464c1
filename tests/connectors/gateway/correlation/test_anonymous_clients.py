"""Calls that say of no episode, through the gateway: their conversations are episodes."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

CHAT = "/v1/chat/completions"
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = '<call>{"name": "add", "arguments": {"a": 1}}</call>'


def says(gateway: "Harness", text: str) -> None:
    gateway.engine.answer = replace(gateway.engine.answer, text=text)


class Asker:
    """A client that keeps its conversation and sends nothing else of itself."""

    def __init__(self, gateway: "Harness", **headers: str) -> None:
        self.gateway, self.headers = gateway, headers
        self.messages: list[Any] = []

    def ask(self, question: str, *, answer: str, **fields: Any) -> str:
        """Ask, and return the episode that the call was put in."""
        says(self.gateway, answer)
        self.messages.append({"role": "user", "content": question})
        body = {"model": "calc", "messages": self.messages, **fields}
        told = self.gateway.post(CHAT, json=body, headers=self.headers).json()
        self.messages.append(told["choices"][0]["message"])
        return f"{self.span.rollout_id}/{self.span.attempt}"

    @property
    def span(self) -> Any:
        return self.gateway.telemetry.spans[-1]

    @property
    def how(self) -> str:
        how: str = json.loads(self.span.attributes)["headrace.conversation"]
        return how


def test_interleaved_clients_with_conversations_of_their_own_have_episodes_of_their_own(
    gateway: "Harness",
) -> None:
    askers = [Asker(gateway) for _ in range(3)]
    episodes: list[set[str]] = [set(), set(), set()]
    for turn in range(3):
        for i, asker in enumerate(askers):
            episodes[i].add(asker.ask(f"{turn}?", answer=f"{i} says {turn}"))
    assert [len(one) for one in episodes] == [1, 1, 1]
    assert len(set.union(*episodes)) == 3
    text = gateway.get("/metrics").text
    for how, calls in (("new", 3), ("extended", 6)):
        assert f'headrace_gateway_conversations_total{{how="{how}"}} {calls}.0' in text


def test_equal_conversations_are_not_merged_and_counted(gateway: "Harness") -> None:
    first, second = Asker(gateway), Asker(gateway)
    begun = [one.ask("hi", answer="hello") for one in (first, second)]
    gone_on: list[str] = []
    for one in (first, second):
        gone_on.append(one.ask("and?", answer=str(len(gone_on))))
        assert one.how == "ambiguous"
    assert len({*begun, *gone_on}) == 4
    assert first.ask("then?", answer="x") == gone_on[0]
    assert second.ask("then?", answer="x") == gone_on[1]
    text = gateway.get("/metrics").text
    assert 'headrace_gateway_conversations_total{how="ambiguous"} 2.0' in text


def test_a_call_of_a_tool_tells_equal_conversations_apart(gateway: "Harness") -> None:
    first, second = Asker(gateway), Asker(gateway)
    begun = [one.ask("1+1?", answer=CALL, tools=[ADD]) for one in (first, second)]
    for one, episode in zip((first, second), begun, strict=True):
        [call] = one.messages[-1]["tool_calls"]
        one.messages.append({"role": "tool", "tool_call_id": call["id"], "content": "2"})
        assert one.ask("so?", answer="2", tools=[ADD]) == episode


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_that_is_named_tells_its_conversation(gateway: "Harness", stream: bool) -> None:
    def ask(**fields: Any) -> str:
        body = {"model": "calc", "input": "hi", "stream": stream, **fields}
        assert gateway.post("/v1/responses", json=body).status_code == 200
        return f"resp_{gateway.telemetry.spans[-1].span_id}"

    first, second = ask(), ask()
    for previous in (first, second):
        ask(previous_response_id=previous, instructions="Now be brief.")
    episodes = [span.rollout_id for span in gateway.telemetry.spans]
    assert episodes[2:] == episodes[:2]
    assert episodes[0] != episodes[1]


def test_keys_keep_clients_apart(gateway: "Harness") -> None:
    first, second = (Asker(gateway, authorization=f"Bearer {key}") for key in "ab")
    begun = [one.ask("hi", answer="hello") for one in (first, second)]
    assert [one.ask("and?", answer="x") for one in (first, second)] == begun


def test_official_clients_that_say_nothing_are_one_episode_each(gateway: "Harness") -> None:
    says(gateway, "hello")
    question: Any = {"role": "user", "content": "hi"}
    with (
        gateway.listening() as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="k", max_retries=0) as one,
        anthropic.Anthropic(base_url=address, api_key="k2", max_retries=0) as other,
    ):
        turns: list[Any] = [question]
        said: list[Any] = [question]
        for _ in range(2):
            message = one.chat.completions.create(model="calc", messages=turns).choices[0].message
            turns += [message, question]
            told = other.messages.create(model="calc", messages=said, max_tokens=9)
            said += [{"role": "assistant", "content": told.content}, question]
    episodes = [span.rollout_id for span in gateway.telemetry.spans]
    assert episodes[:2] == episodes[2:]
    assert len(set(episodes)) == 2


def test_a_conversation_that_was_idle_is_a_new_episode(
    make_gateway: "Callable[..., Harness]", monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = make_gateway(conversation_idle_s=60.0).serve(0)
    now = 1000.0
    monkeypatch.setattr("headrace.connectors.gateway.endpoints.serve.monotonic", lambda: now)
    asker = Asker(gateway)
    begun = asker.ask("hi", answer="hello")
    now += 59
    assert asker.ask("and?", answer="x") == begun
    now += 61
    assert asker.ask("and?", answer="x") != begun
    assert asker.how == "idle"


def test_without_memory_each_call_is_alone(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway(conversations_memory_bytes=0).serve(0)
    asker = Asker(gateway)
    assert asker.ask("hi", answer="hello") != asker.ask("and?", answer="x")


def test_an_answer_that_failed_is_not_gone_on_with(gateway: "Harness") -> None:
    asker = Asker(gateway)
    gateway.telemetry.error = OSError("the disk is full")
    says(gateway, "hello")
    asked = {"role": "user", "content": "hi"}
    assert gateway.chat(messages=[asked]).status_code == 503
    gateway.telemetry.error = None
    asker.messages = [asked, {"role": "assistant", "content": "hello"}]
    asker.ask("and?", answer="x")
    assert asker.how == "new"
