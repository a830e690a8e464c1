"""Whatever a model says, each API streams what it would have answered whole."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.engines import Generation
from tests.connectors.gateway.dialects.bodies import FUNCTION
from tests.connectors.gateway.dialects.scripted import anthropic_client, openai_client

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

QUICK = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example sets the engine
)
SAID = [
    '<call>{"name": "add", "arguments": {"a": "<call>"}}</call>',
    '<call>{"name": "add", "arguments": "{}"}</call>',
    '<call>{"name": "add", "arguments": {"a": "\\ud83d"}}</call>',
    '<call>{"name": "\\ud83d"}</call>',
    '<call>{"name": ',
    "<call>no JSON</call>",
    "</call>",
    "<ca",
    "\n",
    " I add. ",
    "€",
]
texts = st.lists(st.sampled_from(SAID) | st.text(max_size=4), max_size=5).map("".join)


def say(gateway: "Harness", text: str, size: int, **fields: Any) -> None:
    count = len(text) + 1
    gateway.engine.answer = replace(
        Generation(
            token_ids=(7,) * count,
            logprobs=(-0.5,) * count,
            versions=(0,) * count,
            text=text,
            finish_reason="stop",
            stop=None,
            stop_token_included=True,
        ),
        **fields,
    )
    gateway.engine.pieces = tuple(text[at : at + size] for at in range(0, len(text), size))


def answers(gateway: "Harness", path: str, body: dict[str, Any]) -> tuple[bytes, bytes]:
    """The same request answered whole and as a stream."""
    whole = gateway.post(path, json=body)
    streamed = gateway.post(path, json={**body, "stream": True})
    assert (whole.status_code, streamed.status_code) == (200, 200)
    return whole.content, streamed.content


@QUICK
@given(text=texts, size=st.integers(1, 9))
def test_of_messages(gateway: "Harness", text: str, size: int) -> None:
    say(gateway, text, size)
    asked: dict[str, Any] = {
        "model": "calc",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "1+2"}],
    }
    tools = [{"name": "add", "input_schema": {"type": "object"}}]
    whole, streamed = answers(gateway, "/v1/messages", {**asked, "tools": tools})
    expected = anthropic_client(whole, "application/json").messages.create(**asked)
    with anthropic_client(streamed).messages.stream(**asked) as stream:
        message = stream.get_final_message()
    assert said_of_message(message) == said_of_message(expected)
    assert message.stop_reason == expected.stop_reason
    assert message.usage.to_dict() == expected.usage.to_dict()


@QUICK
@given(text=texts, size=st.integers(1, 9))
def test_of_responses(gateway: "Harness", text: str, size: int) -> None:
    say(gateway, text, size)
    asked: dict[str, Any] = {"model": "calc", "input": "1+2"}
    tools = [{"type": "function", **FUNCTION}]
    whole, streamed = answers(gateway, "/v1/responses", {**asked, "tools": tools})
    expected = openai_client(whole, "application/json").responses.create(**asked)
    with openai_client(streamed).responses.stream(**asked) as stream:
        response = stream.get_final_response()
    assert said_of_response(response) == said_of_response(expected)
    assert response.usage == expected.usage
    assert gateway.get(f"/v1/responses/{response.id}").json()["status"] == "completed"


@QUICK
@given(text=texts, size=st.integers(1, 9))
def test_of_completions(gateway: "Harness", text: str, size: int) -> None:
    say(gateway, text, size)
    asked = {"model": "calc", "prompt": "1+2", "logprobs": 0}
    whole, streamed = answers(gateway, "/v1/completions", asked)
    [expected] = json.loads(whole)["choices"]
    parts = [
        choice
        for chunk in openai_client(streamed).completions.create(
            model="calc", prompt="1+2", stream=True
        )
        for choice in chunk.choices
    ]
    assert "".join(part.text for part in parts) == expected["text"] == text
    assert parts[-1].finish_reason == expected["finish_reason"]
    offsets = [at for part in parts if part.logprobs for at in part.logprobs.text_offset or []]
    assert offsets == expected["logprobs"]["text_offset"]


def said_of_message(message: Any) -> tuple[str, list[Any]]:
    """Text, and calls without their ids: these differ from call to call."""
    texts = [block.text for block in message.content if block.type == "text"]
    calls = [(block.name, block.input) for block in message.content if block.type == "tool_use"]
    return "".join(texts), calls


def said_of_response(response: Any) -> tuple[str, list[Any]]:
    calls = [
        (item.name, item.arguments) for item in response.output if item.type == "function_call"
    ]
    return response.output_text, calls
