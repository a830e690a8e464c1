"""An upstream's stream as it goes by: what goes on at once, what is held, what it adds up to."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.gateway.backends.heard import Heard


def sse(*events: Any, end: str = "\n\n") -> bytes:
    told = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {one}{end}" for one in told).encode()


def chunk(delta: dict[str, Any], reason: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": reason}
    return {"id": "c-1", "model": "gpt", "choices": [choice]}


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": more["name"]} if "name" in more else {})}
    named = {"id": more["id"]} if "id" in more else {}
    return {"tool_calls": [{"index": index, **named, "function": function}]}


USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
CHAT = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "1 + "}),
    chunk({"content": "2"}),
    chunk(call(0, '{"a"', id="x", name="add")),
    chunk(call(0, ": 1}")),
    chunk({}, "tool_calls"),
    {"id": "c-1", "choices": [], "usage": USAGE},
    "[DONE]",
)
MESSAGES = (
    {
        "type": "message_start",
        "message": {"id": "m-1", "model": "opus", "usage": {"input_tokens": 3}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "t", "name": "add", "input": {}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"partial_json": '{"a": 1}'}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)
RESPONSE = {"id": "r-1", "model": "gpt", "output": [{"type": "message"}], "usage": {}}
RESPONSES = (
    {"type": "response.created", "response": {"id": "r-1"}},
    {"type": "response.output_text.delta", "delta": "hi"},
    {"type": "response.completed", "response": RESPONSE},
)


def heard(stream: bytes, *, choices: int = 1) -> tuple[Heard, bytes]:
    one = Heard(choices)
    told = one.feed(stream)
    one.end()
    return one, told


@given(
    cuts=st.lists(st.integers(0, 900), max_size=20),
    events=st.sampled_from([CHAT, MESSAGES, RESPONSES]),
    end=st.sampled_from(["\n\n", "\r\n\r\n", "\r\r", "\n: alive\n\n"]),
)
def test_wherever_it_is_cut_it_says_the_same_and_loses_no_byte(
    cuts: list[int], events: tuple[Any, ...], end: str
) -> None:
    stream = sse(*events, end=end)
    at = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = Heard()
    told = b"".join(pieces.feed(stream[a:b]) for a, b in pairwise(at))
    whole, _ = heard(stream)
    assert told + pieces.held == stream
    assert pieces.answer() == whole.answer()
    assert pieces.is_finished
    assert pieces.is_over


def test_a_chat_adds_up_to_its_answer_and_its_end_is_held() -> None:
    one, told = heard(sse(*CHAT))
    assert told == sse(*CHAT[:5])
    assert one.held == sse(*CHAT[5:])
    [choice] = one.answer()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "1 + 2"
    [made] = choice["message"]["tool_calls"]
    assert (made["id"], made["function"]) == ("x", {"name": "add", "arguments": '{"a": 1}'})
    assert one.answer()["usage"] == USAGE


def test_a_message_adds_up_to_its_answer() -> None:
    one, told = heard(sse(*MESSAGES))
    assert told == sse(*MESSAGES[:5])
    answer = one.answer()
    assert answer["content"] == [
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "id": "t", "name": "add", "input": {"a": 1}},
    ]
    assert (answer["id"], answer["stop_reason"]) == ("m-1", "tool_use")
    assert answer["usage"] == {"input_tokens": 3, "output_tokens": 2}


def test_a_response_is_its_last_event() -> None:
    one, told = heard(sse(*RESPONSES))
    assert told == sse(*RESPONSES[:2])
    assert one.answer()["output"] == RESPONSE["output"]


def test_the_end_is_that_of_the_last_choice() -> None:
    ends = [chunk({}, "stop", 1), chunk({"content": "more"}), chunk({}, "stop", 0)]
    one, told = heard(sse(*ends), choices=2)
    assert told == sse(*ends[:2])
    assert one.held == sse(ends[2])


def test_a_last_event_needs_no_empty_line() -> None:
    one, _ = heard(sse(chunk({"content": "x"}, "stop")) + b"data: [DONE]")
    assert one.is_over
    assert one.held.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "event",
    [
        "<html>",
        "[]",
        "7",
        "{",
        "[" * 100_000,
        '{"choices": 7}',
        '{"choices": [7, {"delta": 7}]}',
        '{"choices": [{"delta": {"tool_calls": [7, {"index": "x", "function": 7}]}}]}',
        '{"type": "message_delta", "delta": 7}',
        '{"type": "content_block_delta"}',
    ],
)
def test_what_is_no_event_goes_on_and_is_no_end(event: str) -> None:
    one, told = heard(sse(event, chunk({"content": "x"})))
    assert told == sse(event, chunk({"content": "x"}))
    assert not one.is_finished
    assert one.malformed == (1 if event in ("<html>", "[]", "7", "{", "[" * 100_000) else 0)
    json.dumps(one.answer())


@given(st.binary(max_size=300))
def test_any_bytes_are_read(stream: bytes) -> None:
    one = Heard()
    told = one.feed(stream)
    one.end()
    one.answer()
    assert (told + one.held + b"\n\n").startswith(told)
    assert stream.startswith(told)
