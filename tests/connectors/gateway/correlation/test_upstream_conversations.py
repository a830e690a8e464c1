"""Calls of an upstream that say of no episode: their conversations are episodes, too."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.gateway.conversation import lenient
from headrace.connectors.gateway.correlation.anonymous import ids_named
from tests.connectors.gateway.dialects.bodies import CHAT, MESSAGES, RESPONSES, json_values, mutated
from tests.connectors.gateway.test_gateway_upstream_stream import START, speaking

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

CALL = '<call>{"name": "add", "arguments": {"a": 1}}</call>'
APIS = ("chat/completions", "messages", "responses")
TURNS = {"chat/completions": "messages", "messages": "messages", "responses": "input"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


class Asker:
    """A client of one API that keeps its conversation and names no place."""

    def __init__(self, api: str, gateway: "Harness", behind: "Harness", *, stream: bool) -> None:
        self.api, self.gateway, self.behind, self.stream = api, gateway, behind, stream
        self.turns: list[Any] = []

    def ask(self, *turns: Any, answer: str = "hello", **fields: Any) -> str:
        """Ask, keep what was said, and return the episode that the call was put in."""
        engine = self.behind.engine
        engine.answer = replace(engine.answer, text=answer)
        self.turns += turns
        body = {"model": "gpt", TURNS[self.api]: self.turns, "stream": self.stream, **fields}
        if self.api == "messages":
            body["max_tokens"] = 9
        response = self.gateway.post(f"/v1/{self.api}", json=body)
        assert response.status_code == 200, response.text
        span = self.gateway.telemetry.spans[-1]
        assert json.loads(span.attributes)["headrace.conversation"] in ("new", "extended")
        return f"{span.rollout_id}/{span.attempt}"

    def repeat(self, text: str) -> None:
        """Add the answer to the conversation, as clients write it."""
        self.turns.append({"role": "assistant", "content": text})


@contextmanager
def answering(
    make_gateway: "Callable[..., Harness]", told: "Mapping[str, Any]"
) -> "Iterator[Harness]":
    """A gateway before an upstream that answers every call with this."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    with speaking(make_gateway, head, json.dumps(told).encode()) as gateway:
        yield gateway


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", APIS)
def test_interleaved_clients_have_episodes_of_their_own(
    forwarding: "tuple[Harness, Harness]", api: str, stream: bool
) -> None:
    askers = [Asker(api, *forwarding, stream=stream) for _ in range(2)]
    episodes: list[set[str]] = [set(), set()]
    for turn in range(3):
        for i, asker in enumerate(askers):
            episodes[i].add(asker.ask(user(f"{turn}?"), answer=f"{i} says {turn}"))
            asker.repeat(f"{i} says {turn}")
    assert [len(one) for one in episodes] == [1, 1]
    assert episodes[0] != episodes[1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_a_tool_is_gone_on_with(
    forwarding: "tuple[Harness, Harness]", stream: bool
) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    first, second = (Asker("chat/completions", *forwarding, stream=stream) for _ in range(2))
    episodes = [one.ask(user("1+1?"), answer=CALL, tools=[tool]) for one in (first, second)]
    assert episodes[0] != episodes[1]
    _, behind = forwarding
    spans = [*behind.telemetry.spans]
    for asker, span, episode in zip((first, second), spans, episodes, strict=True):
        call_id = f"call_{span.span_id}0"
        function = {"name": "add", "arguments": '{"a": 1}'}
        called = {"id": call_id, "type": "function", "function": function}
        asker.turns.append({"role": "assistant", "content": None, "tool_calls": [called]})
        result = {"role": "tool", "tool_call_id": call_id, "content": "2"}
        assert asker.ask(result, answer="two", tools=[tool]) == episode


def test_an_answer_that_is_named_is_gone_on_with(forwarding: "tuple[Harness, Harness]") -> None:
    first, second = (Asker("responses", *forwarding, stream=False) for _ in range(2))
    _, behind = forwarding
    for asker in (first, second):
        episode = asker.ask(user("hi"))
        asker.turns = []
        previous = f"resp_{behind.telemetry.spans[-1].span_id}"
        assert asker.ask(user("and?"), previous_response_id=previous) == episode


def test_tasks_in_a_row_are_kept_apart_where_an_upstream_gives_ids_of_calls_again(
    make_gateway: "Callable[..., Harness]",
) -> None:
    function = {"name": "add", "arguments": "{}"}
    called = {"id": "f:0", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [called]}
    told = {"id": "c-1", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    with answering(make_gateway, told) as gateway:
        for task in ("first", "second"):
            turns: list[Any] = [user(task)]
            for _ in range(3):
                response = gateway.chat(model="gpt", messages=turns)
                assert response.status_code == 200
                turns += [message, {"role": "tool", "tool_call_id": "f:0", "content": "2"}]
    spans = gateway.telemetry.spans
    how = [json.loads(span.attributes)["headrace.conversation"] for span in spans]
    assert how == ["new", "extended", "extended"] * 2
    episodes = [span.rollout_id for span in spans]
    assert episodes == [episodes[0]] * 3 + [episodes[3]] * 3
    assert episodes[0] != episodes[3]


def test_an_answer_nested_too_deep_to_be_compared_is_passed_on(
    make_gateway: "Callable[..., Harness]",
) -> None:
    deep: Any = json.loads("[" * 600 + "]" * 600)
    told = {"id": "c-1", "choices": [{"message": {"role": "assistant", "content": deep}}]}
    with answering(make_gateway, told) as gateway:
        response = gateway.chat(model="gpt")
    assert (response.status_code, response.json()) == (200, told)
    [span] = gateway.telemetry.spans
    assert span.status == "ok"


def test_a_stream_nested_too_deep_to_be_compared_keeps_its_last_piece(
    make_gateway: "Callable[..., Harness]",
) -> None:
    deep = "[" * 600 + "]" * 600
    turn = f'{{"type": "message", "role": "assistant", "content": {deep}}}'
    last = f'{{"type": "response.completed", "response": {{"id": "r-1", "output": [{turn}]}}}}'
    said = b"data: " + last.encode() + b"\n\n"
    with speaking(make_gateway, START, said) as gateway:
        body = {"model": "gpt", "input": "x", "stream": True}
        response = gateway.post("/v1/responses", json=body)
    assert response.content == said
    [span] = gateway.telemetry.spans
    assert span.status == "ok"


def test_a_call_that_says_its_place_stays_there(
    forwarding: "tuple[Harness, Harness]", monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(body: Any) -> Any:
        raise AssertionError("nobody needs to know what it repeats")

    monkeypatch.setattr(lenient, "said", read)
    gateway, _ = forwarding
    gateway.chat("/rollout/r-1/attempt/a-1/v1/chat/completions", model="gpt")
    [span] = gateway.telemetry.spans
    assert span.rollout_id == "r-1"
    assert "headrace.conversation" not in json.loads(span.attributes)


def test_a_picture_is_part_of_what_was_said() -> None:
    def body(url: str) -> dict[str, Any]:
        content = [{"type": "text", "text": "What is it?"}, {**PICTURE, "image_url": {"url": url}}]
        return {"messages": [{"role": "user", "content": content}]}

    assert lenient.said(body("a")) != lenient.said(body("b"))
    [message] = lenient.said(body("a"))
    assert message.content.startswith("What is it?")


def test_the_apis_write_one_answer_alike() -> None:
    call = {"id": "c1", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {"role": "assistant", "content": "So.", "tool_calls": [call]}
    chat = {"choices": [{"message": message}]}
    messages = {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "So."},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        ],
    }
    responses = {
        "output": [
            {"type": "reasoning", "summary": []},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "So."}],
            },
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
        ]
    }
    read = [lenient.answered(told) for told in (chat, messages, responses)]
    assert read[0] is not None
    assert read[0] == read[1] == read[2]


@given(st.data())
def test_whatever_is_sent_can_be_read(data: st.DataObject) -> None:
    valid = data.draw(st.sampled_from([CHAT, MESSAGES, RESPONSES]))
    body = data.draw(mutated(valid))
    list(ids_named(lenient.said(body), lenient.previous(body)))
    told = data.draw(
        st.dictionaries(st.sampled_from(["choices", "output", "content", "id"]), json_values)
    )
    lenient.answered(told)
