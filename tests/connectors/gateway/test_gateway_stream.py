"""Answers that go out while they grow, and the spans they leave."""

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import openai
import pytest

from headrace.connectors.engines import GenerationFailed

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

CHAT = "/v1/chat/completions"
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        },
    },
}
CALL = '<call>{"name": "add", "arguments": {"a": 1, "b": 2}}</call>'


def says(gateway: "Harness", *pieces: str) -> None:
    gateway.engine.pieces = pieces
    gateway.engine.answer = replace(gateway.engine.answer, text="".join(pieces))


def events(answer: Any) -> list[Any]:
    told = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [one if one == "[DONE]" else json.loads(one) for one in told]


def test_a_stream_says_what_the_answer_says(gateway: "Harness") -> None:
    says(gateway, "1 + ", "2 ", "= 3")
    whole = gateway.chat(seed=1).json()
    answer = gateway.chat(stream=True, stream_options={"include_usage": True}, seed=1)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events(answer)
    assert done == "[DONE]"
    assert usage["usage"] == whole["usage"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    # Pieces that wait for the same turn go out as one.
    assert [delta.get("content") for delta in deltas[1:]] == ["1 + 2 = 3", None]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    first, second = gateway.telemetry.spans
    assert {chunk["id"] for chunk in chunks} == {f"chatcmpl-{second.span_id}"}
    assert first.call is not None
    assert second.call is not None
    assert first.call.sampled_ids.tolist() == second.call.sampled_ids.tolist()
    assert first.output == second.output == whole["choices"][0]["message"]["content"]


def test_log_probabilities_come_with_the_pieces(gateway: "Harness") -> None:
    says(gateway, "a", "b", "c")
    chunks = events(gateway.chat(stream=True, logprobs=True))[:-1]
    told = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    entries = [entry for one in told if one for entry in one["content"]]
    assert [entry["logprob"] for entry in entries] == [-0.5, -0.25, -0.125]


def test_the_end_is_not_told_before_the_call_is_durable(gateway: "Harness") -> None:
    says(gateway, "1", "2")

    async def hold() -> asyncio.Event:
        gateway.telemetry.hold = asyncio.Event()
        return gateway.telemetry.hold

    held = gateway.run(hold())
    with gateway.listening() as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
        with (
            client,
            client.chat.completions.create(
                model="calc", messages=[{"role": "user", "content": "x"}], stream=True
            ) as stream,
        ):
            read = iter(stream)
            texts = [next(read).choices[0].delta.content for _ in range(2)]
            assert texts == ["", "12"]
            assert gateway.telemetry.reached.wait(20)
            assert gateway.telemetry.spans == []
            gateway.call(held.set)
            assert next(read).choices[0].finish_reason == "stop"
            assert len(gateway.telemetry.spans) == 1


def test_what_goes_wrong_before_the_first_piece_is_an_error_as_any(gateway: "Harness") -> None:
    gateway.engine.error = GenerationFailed("no memory")
    answer = gateway.chat(stream=True)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "backend_failed"
    [span] = gateway.telemetry.spans
    assert (span.status, json.loads(span.attributes)["error.type"]) == ("error", "backend_failed")


def test_what_goes_wrong_later_ends_the_stream_with_an_error(gateway: "Harness") -> None:
    says(gateway, "1", "2")
    gateway.engine.late_error = GenerationFailed("no memory")
    answer = gateway.chat(stream=True)
    assert answer.status_code == 200
    assert events(answer)[-1]["error"]["code"] == "backend_failed"
    [span] = gateway.telemetry.spans
    assert (span.status, span.output) == ("error", "12")


def test_an_undurable_call_has_no_end(gateway: "Harness") -> None:
    says(gateway, "1", "2")
    gateway.telemetry.error = OSError("the disk is full")
    told = events(gateway.chat(stream=True))
    assert told[-1]["error"]["code"] == "telemetry_not_durable"
    assert all(
        "finish_reason" not in str(one) or one["choices"][0]["finish_reason"] is None
        for one in told[:-1]
    )


def test_a_client_that_leaves_in_the_middle_ends_the_generation(gateway: "Harness") -> None:
    says(gateway, *"12345")

    async def slow() -> None:
        gateway.engine.pause = asyncio.Event()

    gateway.run(slow())
    with gateway.listening() as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
        with client:
            stream = client.chat.completions.create(
                model="calc", messages=[{"role": "user", "content": "x"}], stream=True
            )
            read = iter(stream)
            # What was sampled goes out though the next piece is not there yet.
            assert [next(read).choices[0].delta.content for _ in range(2)] == ["", "1"]
            stream.close()
        gateway.wait_until(lambda: bool(gateway.telemetry.spans), "the span of the call")
    [span] = gateway.telemetry.spans
    assert json.loads(span.attributes)["error.type"] == "client_gone"
    assert gateway.engine.cancelled == 1
    gateway.wait_until(lambda: gateway.state.in_flight == 0, "its place to be free")


@pytest.mark.parametrize("streams", [False, True])
def test_a_call_of_a_tool_is_told_as_one(gateway: "Harness", streams: bool) -> None:
    says(gateway, "Let me see. <ca", CALL[3:20], CALL[20:])
    answer = gateway.chat(stream=streams, tools=[ADD])
    if streams:
        deltas = [one["choices"][0]["delta"] for one in events(answer)[:-1]]
        calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
        assert "".join(delta.get("content") or "" for delta in deltas) == "Let me see."
        assert calls[0]["function"]["name"] == "add"
        arguments = "".join(call["function"]["arguments"] for call in calls)
        identity = calls[0]["id"]
        reason = events(answer)[-2]["choices"][0]["finish_reason"]
    else:
        choice = answer.json()["choices"][0]
        [call] = choice["message"]["tool_calls"]
        assert choice["message"]["content"] == "Let me see."
        arguments, identity = call["function"]["arguments"], call["id"]
        reason = choice["finish_reason"]
    assert json.loads(arguments) == {"a": 1, "b": 2}
    assert reason == "tool_calls"
    [span] = gateway.telemetry.spans
    assert identity == f"call_{span.span_id}0"
    [message] = json.loads(span.attributes)["gen_ai.output.messages"]
    assert message["parts"][0] == {"type": "text", "content": "Let me see."}
    told = message["parts"][1]
    assert (told["name"], json.loads(told["arguments"])) == ("add", {"a": 1, "b": 2})
    assert span.call is not None
    assert (span.call.finish_reason, span.call.trainable) == ("tool_calls", True)


def test_a_malformed_call_stays_text_and_is_counted(gateway: "Harness") -> None:
    says(gateway, "<call>{add 1 2}</call>")
    choice = gateway.chat(tools=[ADD]).json()["choices"][0]
    assert choice["message"]["content"] == "<call>{add 1 2}</call>"
    assert choice["finish_reason"] == "stop"
    [span] = gateway.telemetry.spans
    assert len(json.loads(span.attributes)["headrace.malformed_tool_calls"]) == 1


def test_the_model_is_told_of_its_tools_their_calls_and_results(gateway: "Harness") -> None:
    call = {"id": "c1", "type": "function",
            "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}  # fmt: skip
    gateway.chat(
        tools=[ADD],
        messages=[
            {"role": "user", "content": "1+2?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
        ],
    )
    prompt = "".join(map(chr, gateway.engine.requests[0].prompt_ids))
    assert "add(a: integer, b: integer): Add two numbers." in prompt
    assert CALL in prompt
    assert prompt.endswith("<result>3</result>")


def test_a_tool_that_must_be_called_is_off_support(gateway: "Harness") -> None:
    gateway.chat(tools=[ADD], tool_choice="required")
    assert gateway.engine.requests[0].constraint is not None
    [span] = gateway.telemetry.spans
    assert span.call is not None
    assert span.call.untrainable_reason == "off_support"


def test_a_client_that_wants_one_call_at_a_time_gets_the_first(gateway: "Harness") -> None:
    says(gateway, CALL, CALL.replace("1", "3"))
    gateway.serve(0)
    question = {"role": "user", "content": "1+2?"}
    told = gateway.chat(tools=[ADD], parallel_tool_calls=False, messages=[question]).json()
    message = told["choices"][0]["message"]
    assert [json.loads(one["function"]["arguments"])["a"] for one in message["tool_calls"]] == [1]
    gateway.chat(tools=[ADD], messages=[question, message, {"role": "user", "content": "?"}])
    first, second = (json.loads(span.attributes) for span in gateway.telemetry.spans)
    assert first["headrace.left_out_tool_calls"] == 1
    # The tokens of the call that the client never saw are not brought back.
    assert second["headrace.prompt"] == "cut"


@pytest.mark.parametrize("streams", [False, True])
def test_each_of_several_choices_is_a_call_of_its_own(gateway: "Harness", streams: bool) -> None:
    says(gateway, "a", "b")
    answer = gateway.chat(n=3, seed=5, stream=streams)
    assert [request.sampling.seed for request in gateway.engine.requests] == [5, 6, 7]
    told = events(answer)[:-1] if streams else [answer.json()]
    assert {one["index"] for part in told for one in part["choices"]} == {0, 1, 2}
    first, *others = sorted(
        gateway.telemetry.spans, key=lambda s: json.loads(s.attributes).get("headrace.choice", 0)
    )
    assert told[0]["id"] == f"chatcmpl-{first.span_id}"
    facts = [json.loads(span.attributes) for span in others]
    assert [fact["headrace.choice"] for fact in facts] == [1, 2]
    assert {fact["headrace.choice_of"] for fact in facts} == {first.span_id}
    assert len({span.span_id for span in gateway.telemetry.spans}) == 3


def test_usage_counts_a_prompt_once_and_all_completions(gateway: "Harness") -> None:
    assert gateway.chat(n=2).json()["usage"] == {
        "prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9,
    }  # fmt: skip


def test_equal_prompts_that_were_asked_twice_are_counted_twice(gateway: "Harness") -> None:
    answer = gateway.post("/v1/completions", json={"model": "calc", "prompt": ["1+2", "1+2"]})
    assert answer.json()["usage"]["prompt_tokens"] == 6


def test_choices_of_which_one_is_not_durable_are_not_answered(gateway: "Harness") -> None:
    gateway.telemetry.error = OSError("the disk is full")
    assert gateway.chat(n=2).status_code == 503
    assert gateway.telemetry.spans == []
    assert "headrace_gateway_undurable_calls_total 2.0" in gateway.get("/metrics").text


def test_metrics_say_how_prompts_were_made(gateway: "Harness") -> None:
    says(gateway, "3")
    turns = [{"role": "user", "content": "1+2"}]
    for _ in range(2):
        said = gateway.chat(messages=turns).json()["choices"][0]["message"]
        turns += [said, {"role": "user", "content": "and now?"}]
    text = gateway.get("/metrics").text
    for how in ("new", "extended"):
        assert f'headrace_gateway_prompts_total{{how="{how}",policy="calc"}} 1.0' in text


def test_an_unknown_field_is_accepted_and_noted(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway().serve(0)
    assert gateway.chat(chat_template_kwargs={"x": 1}).status_code == 200
    [span] = gateway.telemetry.spans
    assert json.loads(span.attributes)["headrace.unknown_fields"] == ["chat_template_kwargs"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "cut"),
    [("😀👩‍👩‍👧‍👦🇩🇪", 0), ("naïve 👩", 1), ("😀👩", 3)],
    ids=["whole", "cut", "cut-most"],
)
def test_the_bytes_of_the_tokens_are_the_text_in_a_stream_too(
    gateway: "Harness", monkeypatch: pytest.MonkeyPatch, stream: bool, text: str, cut: int
) -> None:
    raw = text.encode()
    raw = raw[: len(raw) - cut]
    shown = raw.decode(errors="replace")
    monkeypatch.setattr(
        gateway.engine, "token_bytes", lambda ids: tuple(bytes([token]) for token in ids)
    )
    # A token a byte: what is not a whole character yet is not shown yet.
    known = [raw[:at].decode(errors="ignore") for at in range(len(raw))] + [shown]
    gateway.engine.pieces = tuple(
        after.removeprefix(before) for before, after in itertools.pairwise(known)
    )
    gateway.engine.answer = replace(
        gateway.engine.answer,
        token_ids=tuple(raw),
        logprobs=(-0.5,) * len(raw),
        versions=(0,) * len(raw),
        text=shown,
        finish_reason="length",
        stop_token_included=False,
    )
    answer = gateway.chat(stream=stream, logprobs=True)
    chunks = events(answer)[:-1] if stream else [answer.json()]
    told = [
        entry
        for chunk in chunks
        for entry in (chunk["choices"][0]["logprobs"] or {}).get("content", ())
    ]
    assert bytes(byte for entry in told for byte in entry["bytes"]) == raw
    assert len(told) == len(raw)
    parts = [
        chunk["choices"][0].get("delta", chunk["choices"][0].get("message")) for chunk in chunks
    ]
    said = "".join(part.get("content") or "" for part in parts)
    assert said == shown
    assert said.count("\N{REPLACEMENT CHARACTER}") == (1 if cut else 0)
