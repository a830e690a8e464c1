"""The official clients against a listening gateway, whole and streamed, sync and async."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from headrace.connectors.engines import Generation, PromptTooLong

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

PREFIX = "/rollout/r-1/attempt/a-1"
CALL = '<call>{"name": "add", "arguments": {"a": 1, "b": 2}}</call>'
ADD: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
}


def say(gateway: "Harness", text: str, **fields: Any) -> None:
    """Let the engine answer this: a token a character and an end, told in threes."""
    ids = (*map(ord, text), 2)
    whole = Generation(
        token_ids=ids,
        logprobs=(-0.5,) * len(ids),
        versions=(0,) * len(ids),
        text=text,
        finish_reason="stop",
        stop=None,
        stop_token_included=True,
    )
    gateway.engine.answer = replace(whole, **fields)
    gateway.engine.pieces = tuple(text[at : at + 3] for at in range(0, len(text), 3))


@pytest.fixture
def address(gateway: "Harness") -> Iterator[str]:
    with gateway.listening() as url:
        yield url


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="k", base_url=f"{address}{PREFIX}/v1", max_retries=0) as one:
        yield one


@pytest.fixture
def claude(address: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="k", base_url=f"{address}{PREFIX}", max_retries=0) as one:
        yield one


def test_a_message_is_answered(gateway: "Harness", claude: anthropic.Anthropic) -> None:
    say(gateway, "3.")
    message = claude.messages.create(
        model="calc", max_tokens=9, system="Add.", messages=[{"role": "user", "content": "1+2"}]
    )
    [block] = message.content
    assert block.type == "text"
    assert (block.text, message.stop_reason) == ("3.", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 3)
    [span] = gateway.telemetry.spans
    assert span.call is not None
    assert message.id == span.call.response_id == f"msg_{span.span_id}"
    assert (span.rollout_id, span.attempt, span.call.trainable) == ("r-1", "a-1", True)
    assert json.loads(span.input)[0] == {"role": "system", "content": "Add."}


def test_a_message_calls_a_tool_and_gets_its_result(
    gateway: "Harness", claude: anthropic.Anthropic
) -> None:
    say(gateway, f"I add.\n{CALL}")
    tools: Any = [{"name": "add", "input_schema": ADD}]
    asked: list[Any] = [{"role": "user", "content": "1+2"}]
    message = claude.messages.create(model="calc", max_tokens=99, messages=asked, tools=tools)
    text, call = message.content
    assert text.type == "text"
    assert text.text == "I add."
    assert call.type == "tool_use"
    assert (call.name, call.input, message.stop_reason) == ("add", {"a": 1, "b": 2}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "3"}
    asked += [
        {"role": "assistant", "content": [block.to_dict() for block in message.content]},
        {"role": "user", "content": [result]},
    ]
    say(gateway, "It is 3.")
    last = claude.messages.create(model="calc", max_tokens=99, messages=asked, tools=tools)
    assert last.stop_reason == "end_turn"
    roles = [one["role"] for one in json.loads(gateway.telemetry.spans[-1].input)]
    assert roles[-3:] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("text", ["3.", f"I add.\n{CALL}\n{CALL}", CALL, ""])
def test_a_streamed_message_says_what_an_unstreamed_one_says(
    gateway: "Harness", claude: anthropic.Anthropic, text: str
) -> None:
    say(gateway, text)
    asked: dict[str, Any] = {
        "model": "calc",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "1+2"}],
        "tools": [{"name": "add", "input_schema": ADD}],
    }
    whole = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    assert stripped(streamed.to_dict()) == stripped(whole.to_dict())


def test_an_async_stream_of_a_message_is_read(gateway: "Harness", address: str) -> None:
    say(gateway, "Hello")

    async def read() -> str:
        async with (
            anthropic.AsyncAnthropic(api_key="k", base_url=address, max_retries=0) as claude,
            claude.messages.stream(
                model="calc", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
            ) as stream,
        ):
            return "".join([text async for text in stream.text_stream])

    assert gateway.run(read()) == "Hello"


def test_tokens_of_a_message_are_counted(gateway: "Harness", claude: anthropic.Anthropic) -> None:
    asked: list[Any] = [{"role": "user", "content": "1+2"}]
    counted = claude.messages.count_tokens(model="calc", system="Add.", messages=asked)
    message = claude.messages.create(model="calc", max_tokens=9, system="Add.", messages=asked)
    assert counted.input_tokens == message.usage.input_tokens == 7
    assert len(gateway.telemetry.spans) == 1


def test_a_response_is_answered_and_gone_on_from(gateway: "Harness", client: openai.OpenAI) -> None:
    say(gateway, "3.")
    first = client.responses.create(model="calc", input="1+2", instructions="Add.")
    assert (first.output_text, first.status) == ("3.", "completed")
    second = client.responses.create(
        model="calc", input="and 1", previous_response_id=first.id, store=False
    )
    spans = gateway.telemetry.spans
    assert spans[0].call is not None
    assert first.id == spans[0].call.response_id == f"resp_{spans[0].span_id}"
    assert [one["content"] for one in json.loads(spans[1].input)] == ["1+2", "3.", "and 1"]
    assert client.responses.retrieve(first.id).output_text == "3."
    with pytest.raises(openai.NotFoundError, match=second.id):
        client.responses.create(model="calc", input="x", previous_response_id=second.id)


def test_a_response_refers_to_what_was_answered(gateway: "Harness", client: openai.OpenAI) -> None:
    say(gateway, "3.")
    first = client.responses.create(model="calc", input="1+2")
    output: Any = first.output
    item: Any = {"type": "item_reference", "id": output[0].id}
    client.responses.create(model="calc", input=[item, {"role": "user", "content": "sure?"}])
    told = json.loads(gateway.telemetry.spans[-1].input)
    assert [(one["role"], one["content"]) for one in told] == [
        ("assistant", "3."),
        ("user", "sure?"),
    ]


@pytest.mark.parametrize("text", ["3.", f"I add.\n{CALL}\n{CALL}", CALL, ""])
def test_a_streamed_response_says_what_an_unstreamed_one_says(
    gateway: "Harness", client: openai.OpenAI, text: str
) -> None:
    say(gateway, text)
    tool: Any = {"type": "function", "name": "add", "parameters": ADD, "strict": False}
    asked: dict[str, Any] = {"model": "calc", "input": "1+2", "tools": [tool]}
    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        streamed = stream.get_final_response()
    assert streamed.output_text == whole.output_text
    assert [call_of(item) for item in streamed.output] == [call_of(item) for item in whole.output]
    kept = client.responses.retrieve(streamed.id)
    assert kept.output_text == whole.output_text
    assert ids_of(kept) == ids_of(streamed)


def test_a_response_is_parsed(gateway: "Harness", client: openai.OpenAI) -> None:
    class Sum(BaseModel):
        total: int

    say(gateway, '{"total": 3}')
    parsed = client.responses.parse(model="calc", input="1+2", text_format=Sum)
    assert parsed.output_parsed == Sum(total=3)
    [request] = gateway.engine.requests
    assert request.constraint is not None
    assert request.constraint.kind == "json_schema"
    [span] = gateway.telemetry.spans
    assert span.call is not None
    assert span.call.untrainable_reason == "off_support"


def test_a_response_that_is_cut_is_incomplete(gateway: "Harness", client: openai.OpenAI) -> None:
    say(gateway, "3", finish_reason="length", stop_token_included=False)
    response = client.responses.create(model="calc", input="1+2", max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_an_async_stream_of_a_response_is_read(gateway: "Harness", address: str) -> None:
    say(gateway, "Hello")

    async def read() -> str:
        async with (
            openai.AsyncOpenAI(api_key="k", base_url=f"{address}/v1", max_retries=0) as client,
            client.responses.stream(model="calc", input="hi") as stream,
        ):
            return (await stream.get_final_response()).output_text

    assert gateway.run(read()) == "Hello"


def test_completions_go_on_from_prompts(gateway: "Harness", client: openai.OpenAI) -> None:
    say(gateway, "3.")
    answer = client.completions.create(model="calc", prompt=["1+2=", "2+1="], n=2, echo=True)
    assert [(one.index, one.text) for one in answer.choices] == [
        (0, "1+2=3."),
        (1, "1+2=3."),
        (2, "2+1=3."),
        (3, "2+1=3."),
    ]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (8, 12)
    spans = gateway.telemetry.spans
    assert len({span.span_id for span in spans}) == 4
    assert answer.id in {f"cmpl-{span.span_id}" for span in spans}
    assert all(span.call is not None and span.call.trainable for span in spans)
    assert {tuple(request.prompt_ids) for request in gateway.engine.requests} == {
        tuple(map(ord, "1+2=")),
        tuple(map(ord, "2+1=")),
    }


def test_token_ids_are_a_prompt(gateway: "Harness", client: openai.OpenAI) -> None:
    client.completions.create(model="calc", prompt=[5, 6, 7])
    assert gateway.engine.requests[0].prompt_ids == (5, 6, 7)


def test_a_streamed_completion_says_what_an_unstreamed_one_says(
    gateway: "Harness", client: openai.OpenAI
) -> None:
    say(gateway, "3.")
    asked: dict[str, Any] = {"model": "calc", "prompt": ["1+2=", "2+1="], "logprobs": 1}
    whole = client.completions.create(**asked)
    options: Any = {"include_usage": True}
    chunks = list(client.completions.create(**asked, stream=True, stream_options=options))
    for choice in whole.choices:
        parts = [one for chunk in chunks for one in chunk.choices if one.index == choice.index]
        assert "".join(part.text for part in parts) == choice.text
        assert parts[-1].finish_reason == choice.finish_reason
        assert choice.logprobs is not None
        streamed = [
            token for part in parts if part.logprobs for token in part.logprobs.tokens or []
        ]
        assert streamed == choice.logprobs.tokens
    assert chunks[-1].usage == whole.usage


def test_errors_reach_each_client_in_its_form(
    gateway: "Harness", client: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    image: Any = {"type": "image", "source": {"type": "url", "url": "http://x"}}
    with pytest.raises(anthropic.BadRequestError, match=re.escape("messages[0].content[0].type")):
        claude.messages.create(
            model="calc", max_tokens=9, messages=[{"role": "user", "content": [image]}]
        )
    search: Any = {"type": "web_search"}
    with pytest.raises(openai.BadRequestError, match="web_search") as refused:
        client.responses.create(model="calc", input="x", tools=[search])
    assert refused.value.param == "tools[0].type"
    gateway.engine.error = PromptTooLong("4000 tokens")
    for streams in (False, True):
        with pytest.raises(anthropic.BadRequestError, match="4000 tokens"):
            claude.messages.create(
                model="calc",
                max_tokens=9,
                messages=[{"role": "user", "content": "x"}],
                stream=streams,
            )
        with pytest.raises(openai.BadRequestError, match="4000 tokens"):
            client.responses.create(model="calc", input="x", stream=streams)
        with pytest.raises(openai.BadRequestError, match="4000 tokens"):
            client.completions.create(model="calc", prompt="x", stream=streams)
    assert [span.status for span in gateway.telemetry.spans] == ["error"] * 6


def test_a_wrong_key_and_path_reach_anthropic_s_client_in_its_form(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(keys=("sk-one",)).serve(0)
    asked: dict[str, Any] = {
        "model": "calc",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "1+2"}],
    }
    with (
        gateway.listening() as address,
        anthropic.Anthropic(api_key="sk-one", base_url=address, max_retries=0) as right,
        anthropic.Anthropic(api_key="sk-two", base_url=address, max_retries=0) as wrong,
    ):
        assert right.messages.create(**asked).role == "assistant"
        with pytest.raises(anthropic.AuthenticationError) as refused:
            wrong.messages.create(**asked)
        with pytest.raises(anthropic.NotFoundError) as missed:
            right.messages.batches.create(requests=[])
    for error, kind in ((refused, "authentication_error"), (missed, "not_found_error")):
        body: Any = error.value.body
        assert (body["type"], body["error"]["type"]) == ("error", kind)


@pytest.mark.parametrize("text", ["3.", f"I add. {CALL}", f"{CALL} Done."])
@pytest.mark.parametrize("api", ["messages", "responses", "previous_response_id"])
def test_the_next_prompt_goes_on_from_the_tokens_that_were_sampled(
    gateway: "Harness",
    client: openai.OpenAI,
    claude: anthropic.Anthropic,
    api: str,
    text: str,
) -> None:
    say(gateway, text)
    if api == "messages":
        go_on_as_messages(claude)
    else:
        go_on_as_responses(client, by_id=api == "previous_response_id")
    first, second = gateway.engine.requests
    before = (*first.prompt_ids, *gateway.engine.answer.token_ids)
    assert second.prompt_ids[: len(before)] == before
    assert len(second.prompt_ids) > len(before)


def go_on_as_messages(claude: anthropic.Anthropic) -> None:
    asked: list[Any] = [{"role": "user", "content": "1+2"}]
    tools: Any = [{"name": "add", "input_schema": ADD}]
    with claude.messages.stream(model="calc", max_tokens=99, messages=asked, tools=tools) as stream:
        message = stream.get_final_message()
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "3"}
        for block in message.content
        if block.type == "tool_use"
    ]
    asked += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [*results, {"type": "text", "text": "Sure?"}]},
    ]
    claude.messages.create(model="calc", max_tokens=99, messages=asked, tools=tools)


def go_on_as_responses(client: openai.OpenAI, *, by_id: bool) -> None:
    tools: Any = [{"type": "function", "name": "add", "parameters": ADD, "strict": False}]
    asked: list[Any] = [{"role": "user", "content": "1+2"}]
    with client.responses.stream(
        model="calc",
        input=asked,
        tools=tools,
    ) as stream:
        response = stream.get_final_response()
    next_: list[Any] = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "3"}
        for item in response.output
        if item.type == "function_call"
    ]
    next_.append({"role": "user", "content": "Sure?"})
    if by_id:
        client.responses.create(
            model="calc", input=next_, tools=tools, previous_response_id=response.id
        )
        return
    output: list[Any] = [item.to_dict() for item in response.output]
    client.responses.create(model="calc", input=[*asked, *output, *next_], tools=tools)


def stripped(value: Any) -> Any:
    """Without what differs from call to call: ids."""
    if isinstance(value, dict):
        return {key: stripped(one) for key, one in value.items() if key != "id"}
    return [stripped(one) for one in value] if isinstance(value, list) else value


def call_of(item: Any) -> Any:
    return (item.name, item.arguments) if item.type == "function_call" else "message"


def ids_of(response: Any) -> list[str]:
    return [item.id for item in response.output]
