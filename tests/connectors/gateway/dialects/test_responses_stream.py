"""A response, whole and while it grows, as OpenAI's client reads it."""

import json
from dataclasses import replace
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from pydantic import BaseModel

from headrace.connectors.gateway.conversation import (
    AnswerEvent,
    ChoiceEnded,
    TextGrew,
    ToolCallGrew,
)
from headrace.connectors.gateway.dialects.responses.read import read
from headrace.connectors.gateway.dialects.responses.stream import ResponseWriter
from headrace.connectors.gateway.dialects.responses.write import write
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.errors import BackendFailed
from tests.connectors.gateway.dialects.scripted import (
    HEAD,
    Scripted,
    answer_of,
    answers,
    openai_client,
    scripted,
    token,
    told,
    wire,
)

REPEATED = read(
    {"model": "calc", "input": "1+2", "metadata": {"k": "v"}},
    max_messages=9,
    default_max_tokens=9,
).repeated


def writer_of(identity: str = "resp_1") -> ResponseWriter:
    return ResponseWriter(replace(HEAD, id=identity), repeated=REPEATED)


def stream(said: Scripted) -> list[Sse]:
    writer = writer_of(said.answer.id)
    started = writer.start()
    grown = [one for event in said.events for one in writer.grew(event)]
    return [*started, *grown, *writer.end(said.answer)]


def shape(event: dict[str, Any]) -> tuple[Any, ...]:
    """What matters of an event: its type and where it belongs."""
    told = event.get("delta", event.get("text", event.get("arguments")))
    identity = event.get("item_id") or event.get("item", {}).get("id")
    return (event["type"], event.get("output_index"), identity, told)


def test_text_and_calls_go_out_in_this_order() -> None:
    said = scripted(["Hel", "lo"], [("add", ['{"a"', ": 2}"])], identity="resp_1")
    events = told(stream(said))
    assert [shape(event) for event in events] == [
        ("response.created", None, None, None),
        ("response.in_progress", None, None, None),
        ("response.output_item.added", 0, "msg_1_0", None),
        ("response.content_part.added", 0, "msg_1_0", None),
        ("response.output_text.delta", 0, "msg_1_0", "Hel"),
        ("response.output_text.delta", 0, "msg_1_0", "lo"),
        ("response.output_text.done", 0, "msg_1_0", "Hello"),
        ("response.content_part.done", 0, "msg_1_0", None),
        ("response.output_item.done", 0, "msg_1_0", None),
        ("response.output_item.added", 1, "fc_1_1", None),
        ("response.function_call_arguments.delta", 1, "fc_1_1", '{"a"'),
        ("response.function_call_arguments.delta", 1, "fc_1_1", ": 2}"),
        ("response.function_call_arguments.done", 1, "fc_1_1", '{"a": 2}'),
        ("response.output_item.done", 1, "fc_1_1", None),
        ("response.completed", None, None, None),
    ]
    assert [event["sequence_number"] for event in events] == list(range(15))
    assert events[0]["response"]["status"] == "in_progress"
    assert events[2]["item"]["status"] == "in_progress"
    assert events[13]["item"] == {
        "id": "fc_1_1",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_0",
        "name": "add",
        "arguments": '{"a": 2}',
    }
    assert events[-1]["response"] == write(said.answer, REPEATED)


@settings(max_examples=100, deadline=None)
@given(answers())
def test_a_streamed_response_is_the_unstreamed_one(said: Scripted) -> None:
    whole = openai_client(json.dumps(write(said.answer, REPEATED)).encode(), "application/json")
    expected = whole.responses.create(model="calc", input="1+2")
    ended = None
    with openai_client(wire(stream(said))).responses.stream(model="calc", input="1+2") as responses:
        for event in responses:
            if event.type in ("response.completed", "response.incomplete"):
                ended = event.response
    assert ended is not None
    assert ended.output_text == expected.output_text == said.answer.choices[0].text
    unparsed = ended.to_dict()
    for item in unparsed["output"]:  # type: ignore[attr-defined]  # to_dict says object
        item.pop("parsed_arguments", None)
        for part in item.get("content", ()):
            part.pop("parsed", None)
    assert unparsed == expected.to_dict()


def test_a_response_that_was_cut_is_incomplete() -> None:
    said = scripted(["Hel"], finish_reason="length")
    last = told(stream(said))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["output"][-1]["status"] == "incomplete"


def test_a_response_that_says_nothing_is_an_empty_message() -> None:
    said = scripted()
    assert told(stream(said))[-1]["response"] == write(said.answer, REPEATED)
    [item] = write(said.answer, REPEATED)["output"]
    assert item["content"][0]["text"] == ""


def test_text_after_a_call_is_a_message_of_its_own() -> None:
    writer = writer_of()
    events: tuple[AnswerEvent, ...] = (
        ToolCallGrew(choice=0, index=0, id="call_0", name="now", arguments="{}"),
        TextGrew(choice=0, text="Done."),
        ChoiceEnded(choice=0, finish_reason="tool_calls"),
    )
    for event in events:
        writer.grew(event)
    [ended] = told(writer.end(scripted(["Done."], [("now", ["{}"])]).answer))
    response = ended["response"]
    assert [item["id"] for item in response["output"]] == ["fc_1_0", "msg_1_1"]


def test_log_probabilities_are_told_with_the_text_they_belong_to() -> None:
    writer = writer_of()
    events: list[AnswerEvent] = [
        TextGrew(choice=0, text="", tokens=(token(b"\xe2\x82"),)),
        TextGrew(choice=0, text="€", tokens=(token(b"\xac"),)),
        TextGrew(choice=0, text="", tokens=(token(b"!", float("-inf")),)),
        ChoiceEnded(choice=0, finish_reason="stop"),
    ]
    sent = told([one for event in events for one in writer.grew(event)])
    assert [len(one["logprobs"]) for one in sent if "logprobs" in one] == [2, 3]
    [item] = [one["item"] for one in sent if one["type"] == "response.output_item.done"]
    entries = item["content"][0]["logprobs"]
    assert [entry["bytes"] for entry in entries] == [[0xE2, 0x82], [0xAC], [33]]
    assert entries[-1]["logprob"] == -9999.0
    assert entries[0]["top_logprobs"][0]["bytes"] == [0xE2, 0x82]


def test_a_response_that_breaks_off_says_so() -> None:
    writer = writer_of()
    sent = [*writer.start(), *writer.fail(BackendFailed("the engine failed"))]
    with openai_client(wire(sent)).responses.stream(model="calc", input="x") as responses:
        *_, last = list(responses)
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert (last.response.error.code, last.response.error.message) == (
        "server_error",
        "the engine failed",
    )


def test_the_client_parses_text_and_arguments() -> None:
    class Sum(BaseModel):
        total: int

    class Add(BaseModel):
        a: int

    said = scripted(['{"total": 3}'], [("add", ['{"a": 2}'])])
    client = openai_client(json.dumps(write(said.answer, REPEATED)).encode(), "application/json")
    parsed = client.responses.parse(
        model="calc",
        input="1+2",
        text_format=Sum,
        tools=[openai.pydantic_function_tool(Add, name="add")],
    )
    assert parsed.output_parsed == Sum(total=3)
    [call] = [item for item in parsed.output if item.type == "function_call"]
    assert call.parsed_arguments == Add(a=2)


def test_usage_has_this_api_s_names() -> None:
    said = answer_of(scripted(["x"]).answer.choices[0])
    assert write(said, REPEATED)["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }


@pytest.mark.parametrize("field", ["metadata", "tools", "tool_choice", "parallel_tool_calls"])
def test_a_response_repeats_what_was_asked(field: str) -> None:
    said = write(scripted(["x"]).answer, REPEATED)
    assert (
        said[field]
        == {
            "metadata": {"k": "v"},
            "tools": [],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
        }[field]
    )
