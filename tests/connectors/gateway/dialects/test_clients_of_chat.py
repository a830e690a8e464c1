"""OpenAI's client against a listening gateway's /v1/chat/completions."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "1+2"}]
CALL = '<call>{"name": "add", "arguments": {"a": 1, "b": 2}}</call>'
ADD: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        },
    },
}


class Sum(BaseModel):
    total: int


def say(gateway: "Harness", text: str, size: int = 3) -> None:
    """Let the engine answer this: a token a character and an end, told in pieces."""
    ids = (*map(ord, text), 2)
    gateway.engine.answer = replace(
        gateway.engine.answer,
        token_ids=ids,
        logprobs=tuple(-0.5 - at for at in range(len(ids))),
        versions=(0,) * len(ids),
        text=text,
    )
    gateway.engine.pieces = tuple(text[at : at + size] for at in range(0, len(text), size))


@pytest.fixture
def address(gateway: "Harness") -> Iterator[str]:
    with gateway.listening() as url:
        yield f"{url}/v1"


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="k", base_url=address, max_retries=0) as one:
        yield one


def test_the_stream_helper_gathers_what_an_unstreamed_answer_says(
    gateway: "Harness", client: openai.OpenAI
) -> None:
    say(gateway, "one and two are three")
    asked: dict[str, Any] = {"model": "calc", "messages": ASK, "logprobs": True, "n": 2, "seed": 1}
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        gathered = stream.get_final_completion()
    assert {"content.delta", "content.done", "logprobs.content.delta", "chunk"} <= kinds
    assert [one.message.content for one in gathered.choices] == ["one and two are three"] * 2
    for mine, theirs in zip(whole.choices, gathered.choices, strict=True):
        assert mine.finish_reason == theirs.finish_reason
        assert mine.logprobs is not None
        assert theirs.logprobs is not None
        assert mine.logprobs.content == theirs.logprobs.content
    assert gathered.usage == whole.usage


def test_the_stream_helper_gathers_calls_of_tools(
    gateway: "Harness", client: openai.OpenAI
) -> None:
    say(gateway, f"I add. {CALL}")
    with client.chat.completions.stream(model="calc", messages=ASK, tools=[ADD]) as stream:
        kinds = [event.type for event in stream]
        [choice] = stream.get_final_completion().choices
    assert "tool_calls.function.arguments.delta" in kinds
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    [call] = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 1, "b": 2})


def test_an_answer_is_parsed_into_a_model(gateway: "Harness", client: openai.OpenAI) -> None:
    say(gateway, '{"total": 3}')
    parsed = client.chat.completions.parse(model="calc", messages=ASK, response_format=Sum)
    assert parsed.choices[0].message.parsed == Sum(total=3)
    with client.chat.completions.stream(model="calc", messages=ASK, response_format=Sum) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Sum(total=3)
    for request in gateway.engine.requests:
        assert request.constraint is not None
        assert "total" in request.constraint.source
    assert {span.call.untrainable_reason for span in gateway.telemetry.spans if span.call} == {
        "off_support"
    }


def test_a_conversation_with_tools_goes_round(gateway: "Harness", client: openai.OpenAI) -> None:
    say(gateway, CALL)
    messages: list[Any] = [*ASK]
    answer = client.chat.completions.create(model="calc", messages=messages, tools=[ADD])
    message = answer.choices[0].message
    assert message.tool_calls is not None
    messages += [
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "3"},
    ]
    say(gateway, "3")
    again = client.chat.completions.create(model="calc", messages=messages, tools=[ADD])
    assert again.choices[0].message.content == "3"
    told = json.loads(gateway.telemetry.spans[-1].attributes)
    assert told["headrace.prompt"] in ("extended", "rewritten")


def test_async_clients_are_answered_at_once(gateway: "Harness", address: str) -> None:
    say(gateway, "three")

    async def one(client: openai.AsyncOpenAI, seed: int) -> tuple[str, str]:
        stream = await client.chat.completions.create(
            model="calc", messages=ASK, stream=True, seed=seed
        )
        chunks = [chunk async for chunk in stream]
        texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
        return chunks[0].id, "".join(texts)

    async def many() -> list[tuple[str, str]]:
        async with openai.AsyncOpenAI(api_key="k", base_url=address, max_retries=0) as client:
            return await asyncio.gather(*(one(client, seed) for seed in range(20)))

    answers = asyncio.run(many())
    assert {text for _, text in answers} == {"three"}
    spans = {f"chatcmpl-{span.span_id}" for span in gateway.telemetry.spans}
    assert {identity for identity, _ in answers} == spans
    assert len(spans) == 20


def test_token_ids_are_told_to_who_asks_as_with_vllm(
    gateway: "Harness", client: openai.OpenAI
) -> None:
    say(gateway, "three")
    extra = {"return_token_ids": True}
    whole = client.chat.completions.create(model="calc", messages=ASK, extra_body=extra)
    assert whole.model_extra is not None
    assert whole.choices[0].model_extra is not None
    sampled = whole.choices[0].model_extra["token_ids"]
    assert sampled == list(gateway.engine.answer.token_ids)
    assert whole.model_extra["prompt_token_ids"] == [ord(c) for c in "1+2"]
    chunks = client.chat.completions.create(
        model="calc", messages=ASK, stream=True, extra_body=extra
    )
    told = [choice.model_extra or {} for chunk in chunks for choice in chunk.choices]
    assert [token for one in told for token in one.get("token_ids") or ()] == sampled


def test_a_request_is_named_by_the_client_s_own_id(client: openai.OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model="calc", messages=ASK, extra_headers={"X-Request-ID": "mine"}
    )
    assert answer.parse()._request_id == answer.request_id == "mine"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\x02"), max_size=40),
    size=st.integers(1, 7),
    has_tools=st.booleans(),
)
def test_a_streamed_answer_is_the_unstreamed_one(
    gateway: "Harness", text: str, size: int, has_tools: bool
) -> None:
    say(gateway, text, size)
    asked: dict[str, Any] = {"logprobs": True, "return_token_ids": True}
    if has_tools:
        asked["tools"] = [ADD]
    [choice] = gateway.chat(**asked).json()["choices"]
    streamed = gateway.chat(**asked, stream=True).text
    told = [json.loads(one.removeprefix("data: ")) for one in streamed.split("\n\n")[:-2]]
    choices = [one for chunk in told for one in chunk["choices"]]
    content = "".join(one["delta"].get("content") or "" for one in choices)
    assert content == (choice["message"]["content"] or "")
    logprobs = [
        entry for one in choices for entry in (one.get("logprobs") or {}).get("content", ())
    ]
    assert logprobs == choice["logprobs"]["content"]
    assert [one["finish_reason"] for one in choices if one.get("finish_reason")] == [
        choice["finish_reason"]
    ]
    assert [token for one in choices for token in one.get("token_ids") or ()] == choice["token_ids"]
    first, second = gateway.telemetry.spans[-2:]
    assert first.output == second.output
