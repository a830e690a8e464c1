"""A Message, whole and while it grows, as Anthropic's client reads it."""

import json

import anthropic
import pytest
from hypothesis import given, settings

from headrace.connectors.gateway.conversation import (
    AnswerEvent,
    ChoiceEnded,
    TextGrew,
    ToolCallGrew,
)
from headrace.connectors.gateway.dialects.messages.stream import MessageWriter
from headrace.connectors.gateway.dialects.messages.write import error, write
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.errors import (
    ApiError,
    BadRequest,
    BodyTooLarge,
    ModelNotFound,
    NotAuthorised,
    NotFromHere,
    NotReady,
    Overloaded,
)
from tests.connectors.gateway.dialects.scripted import (
    HEAD,
    Scripted,
    answers,
    anthropic_client,
    scripted,
    told,
    wire,
)


def stream(said: Scripted) -> list[Sse]:
    writer = MessageWriter(HEAD)
    grown = [one for event in said.events for one in writer.grew(event)]
    return [*writer.start(), *grown, *writer.end(said.answer)]


def test_text_goes_out_in_this_order() -> None:
    said = scripted(["Hel", "lo"])
    assert told(stream(said)) == [
        {
            "type": "message_start",
            "message": {
                "id": "id-1",
                "type": "message",
                "role": "assistant",
                "model": "calc",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "stop_details": None,
                "usage": {
                    "input_tokens": 0,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": 0,
                },
            },
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": "", "citations": None},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hel"},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None},
            "usage": {
                "input_tokens": 4,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 3,
                "output_tokens": 5,
            },
        },
        {"type": "message_stop"},
    ]


def test_calls_of_tools_follow_in_blocks_of_their_own() -> None:
    said = scripted(["I add."], [("add", ['{"a"', ": 2}"]), ("now", ["{}"])])
    kinds = [
        (event["type"], event.get("index"), event.get("delta", {}).get("partial_json"))
        for event in told(stream(said))
    ]
    assert kinds[1:-2] == [
        ("content_block_start", 0, None),
        ("content_block_delta", 0, None),
        ("content_block_stop", 0, None),
        ("content_block_start", 1, None),
        ("content_block_delta", 1, '{"a"'),
        ("content_block_delta", 1, ": 2}"),
        ("content_block_stop", 1, None),
        ("content_block_start", 2, None),
        ("content_block_delta", 2, "{}"),
        ("content_block_stop", 2, None),
    ]


def test_text_after_a_call_is_a_block_of_its_own() -> None:
    writer = MessageWriter(HEAD)
    events: list[AnswerEvent] = [
        ToolCallGrew(choice=0, index=0, id="call_0", name="now", arguments="{}"),
        TextGrew(choice=0, text="Done."),
        ChoiceEnded(choice=0, finish_reason="tool_calls"),
    ]
    grown = told([one for event in events for one in writer.grew(event)])
    opened = [one["content_block"]["type"] for one in grown if "content_block" in one]
    assert opened == ["tool_use", "text"]
    assert [one["index"] for one in grown] == [0, 0, 0, 1, 1, 1]


@settings(max_examples=100, deadline=None)
@given(answers())
def test_a_streamed_message_is_the_unstreamed_one(said: Scripted) -> None:
    whole = anthropic_client(json.dumps(write(said.answer)).encode(), "application/json")
    expected = whole.messages.create(model="calc", max_tokens=9, messages=[])
    with anthropic_client(wire(stream(said))).messages.stream(
        model="calc", max_tokens=9, messages=[]
    ) as messages:
        assert messages.get_final_message().to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    ("finish_reason", "stop", "expected"),
    [
        ("stop", None, ("end_turn", None)),
        ("stop", "END", ("stop_sequence", "END")),
        ("length", None, ("max_tokens", None)),
    ],
)
def test_a_message_says_why_it_ended(
    finish_reason: str, stop: str | None, expected: tuple[str, str | None]
) -> None:
    said = scripted(["x"], finish_reason=finish_reason, stop=stop)  # type: ignore[arg-type]
    message = write(said.answer)
    assert (message["stop_reason"], message["stop_sequence"]) == expected


def test_arguments_that_are_no_object_stay_readable() -> None:
    message = write(scripted(calls=[("add", ["[1, 2"])]).answer)
    [call] = message["content"]
    assert call["input"] == {"__invalid_json__": "[1, 2"}


def test_the_client_raises_what_breaks_a_stream_off() -> None:
    writer = MessageWriter(HEAD)
    sent = [*writer.start(), *writer.fail(ApiError("the engine failed"))]
    with (
        anthropic_client(wire(sent)).messages.stream(
            model="calc", max_tokens=9, messages=[]
        ) as messages,
        pytest.raises(anthropic.APIStatusError, match="the engine failed"),
    ):
        messages.until_done()


@pytest.mark.parametrize(
    ("failure", "kind", "expected"),
    [
        (BadRequest, "invalid_request_error", anthropic.BadRequestError),
        (NotAuthorised, "authentication_error", anthropic.AuthenticationError),
        (NotFromHere, "permission_error", anthropic.PermissionDeniedError),
        (ModelNotFound, "not_found_error", anthropic.NotFoundError),
        (BodyTooLarge, "request_too_large", anthropic.APIStatusError),
        (Overloaded, "rate_limit_error", anthropic.RateLimitError),
        (NotReady, "overloaded_error", anthropic.InternalServerError),
        (ApiError, "api_error", anthropic.InternalServerError),
    ],
)
def test_errors_have_this_api_s_form(
    failure: type[ApiError], kind: str, expected: type[anthropic.APIStatusError]
) -> None:
    raised = failure("why it is so")
    body = error(raised)
    assert body["type"] == "error"
    assert body["error"] == {"type": kind, "message": "why it is so"}
    client = anthropic_client(json.dumps(body).encode(), "application/json", raised.status)
    with pytest.raises(expected, match="why it is so"):
        client.messages.create(model="calc", max_tokens=9, messages=[])
