"""Streams of an upstream go on as they come; what breaks is told and leaves a span."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.engines.upstream import Upstream, UpstreamConfig
from headrace.connectors.gateway.backends.forwarded import Forwarded

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

START = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
TEXT = b'data: {"id": "c-1", "choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'
END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


@contextmanager
def speaking(
    make_gateway: "Callable[..., Harness]",
    *said: bytes,
    hangs: bool = False,
    patience_s: float = 20.0,
    **settings: Any,
) -> "Iterator[Harness]":
    """A gateway before a server that says these bytes, and then closes or hangs."""
    gateway = make_gateway(**settings)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in said:
            writer.write(piece)
            await writer.drain()
        if hangs:
            await reader.read()
        writer.close()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(speak, "127.0.0.1", 0)

    server = gateway.run(listen())
    port = server.sockets[0].getsockname()[1]
    upstream = Upstream(UpstreamConfig(url=f"http://127.0.0.1:{port}/v1", timeout_s=patience_s))
    gateway.state._forwarded = Forwarded(upstream)
    try:
        yield gateway
    finally:
        gateway.run(upstream.close())
        gateway.call(server.close)


@pytest.fixture
def forwarding(make_gateway: "Callable[..., Harness]") -> "Iterator[tuple[Harness, Harness]]":
    """A gateway, and the gateway that stands in for a foreign server behind it."""
    behind = make_gateway(policy=PolicySettings(name="gpt")).serve(4)
    with behind.listening() as address:
        upstream = Upstream(UpstreamConfig(url=f"{address}/v1/"))
        gateway = make_gateway(forwarded=Forwarded(upstream)).serve(0)
        yield gateway, behind
        gateway.run(upstream.close())


def attributes(span: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(span.attributes)
    return told


def test_pieces_go_on_at_once_and_the_end_when_the_call_is_durable(
    forwarding: "tuple[Harness, Harness]",
) -> None:
    gateway, behind = forwarding
    behind.engine.pieces = ("1 + ", "2")
    behind.engine.answer = replace(behind.engine.answer, text="1 + 2")

    async def events() -> tuple[asyncio.Event, asyncio.Event]:
        return asyncio.Event(), asyncio.Event()

    behind.engine.pause, _ = behind.run(events())
    gateway.telemetry.hold, _ = gateway.run(events())
    with gateway.listening() as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
        options: Any = {"include_usage": True}
        with (
            client,
            client.chat.completions.create(
                model="gpt",
                messages=[{"role": "user", "content": "x"}],
                stream=True,
                stream_options=options,
            ) as stream,
        ):
            read = iter(stream)
            assert [next(read).choices[0].delta.content for _ in range(2)] == ["", "1 + "]
            behind.call(behind.engine.pause.set)
            assert next(read).choices[0].delta.content == "2"
            assert gateway.telemetry.reached.wait(20)
            assert gateway.telemetry.spans == []
            gateway.call(gateway.telemetry.hold.set)
            assert next(read).choices[0].finish_reason == "stop"
            usage = list(read)[-1].usage
    [span] = gateway.telemetry.spans
    assert (span.status, span.output) == ("ok", "1 + 2")
    assert span.call is not None
    assert span.call.response_id == f"chatcmpl-{behind.telemetry.spans[0].span_id}"
    assert usage is not None
    assert attributes(span)["gen_ai.usage.output_tokens"] == usage.completion_tokens == 3


@pytest.mark.parametrize("path", ["completions", "messages", "responses"])
def test_streams_of_all_apis_go_on_and_are_read(
    forwarding: "tuple[Harness, Harness]", path: str
) -> None:
    gateway, behind = forwarding
    behind.engine.pieces = ("1 + ", "2")
    behind.engine.answer = replace(behind.engine.answer, text="1 + 2")
    body: Any = {
        "completions": {"prompt": "x"},
        "messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9},
        "responses": {"input": "x"},
    }[path]
    answer = gateway.post(f"/v1/{path}", json={"model": "gpt", "stream": True, **body})
    assert answer.status_code == 200
    [span], [theirs] = gateway.telemetry.spans, behind.telemetry.spans
    assert "1 + 2" in span.output
    assert span.call is not None
    assert theirs.call is not None
    assert span.call.response_id == theirs.call.response_id
    assert attributes(span).get("error.type") is None


@pytest.mark.parametrize(
    ("said", "hangs", "fault"),
    [
        ([START, TEXT], False, "upstream_broke_off"),
        ([START, TEXT], True, "upstream_broke_off"),
        ([START, b"data: <html>\n\n"], False, "upstream_broke_off"),
        ([START, TEXT, b'data: {"error": {"message": "no GPU"}}\n\n'], False, "upstream_error"),
    ],
    ids=["half", "stalls", "garbage", "error"],
)
def test_a_stream_that_is_no_whole_answer_is_told_and_recorded(
    make_gateway: "Callable[..., Harness]", said: list[bytes], hangs: bool, fault: str
) -> None:
    with speaking(make_gateway, *said, hangs=hangs, patience_s=0.3) as gateway:
        answer = gateway.chat(model="gpt", stream=True)
        assert answer.status_code == 200
        assert said[1] in answer.content
        last = json.loads(answer.content.split(b"data: ")[-1])
        assert last["error"]["message"]
        [span] = gateway.telemetry.spans
        assert (span.status, attributes(span)["error.type"]) == ("error", fault)
        assert span.output == ("hi" if TEXT in said else "")
        assert f'upstream_faults_total{{fault="{fault}"}} 1.0' in gateway.get("/metrics").text


@pytest.mark.parametrize("end", [[END, DONE], [END], [END + b"data: [DONE]"]])
def test_an_answer_is_whole_when_its_choice_has_ended(
    make_gateway: "Callable[..., Harness]", end: list[bytes]
) -> None:
    with speaking(make_gateway, START, TEXT, *end) as gateway:
        answer = gateway.chat(model="gpt", stream=True)
        assert answer.content.strip() == b"".join([TEXT, *end]).strip()
        [span] = gateway.telemetry.spans
        assert (span.status, span.output) == ("ok", "hi")


def test_after_its_end_a_stream_that_stays_open_is_waited_for_no_longer(
    make_gateway: "Callable[..., Harness]",
) -> None:
    with speaking(make_gateway, START, TEXT, END, DONE, hangs=True) as gateway:
        assert gateway.chat(model="gpt", stream=True).content == TEXT + END + DONE
        assert gateway.telemetry.spans[0].status == "ok"


def test_a_call_that_cannot_be_recorded_has_no_end(make_gateway: "Callable[..., Harness]") -> None:
    with speaking(make_gateway, START, TEXT, END, DONE) as gateway:
        gateway.telemetry.error = OSError("the disk is full")
        answer = gateway.chat(model="gpt", stream=True)
        assert answer.content.startswith(TEXT)
        assert END not in answer.content
        assert b"telemetry_not_durable" in answer.content


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "upstream_malformed"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}", "http_500"),
    ],
)
def test_a_whole_answer_that_is_none_goes_on_as_it_came_and_is_an_error(
    make_gateway: "Callable[..., Harness]", said: bytes, fault: str
) -> None:
    with speaking(make_gateway, said) as gateway:
        answer = gateway.chat(model="gpt")
        assert answer.content == said.split(b"\r\n\r\n")[1]
        [span] = gateway.telemetry.spans
        assert (span.status, attributes(span)["error.type"]) == ("error", fault)


def test_a_whole_answer_that_stalls_is_a_502(make_gateway: "Callable[..., Harness]") -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{"
    with speaking(make_gateway, said, hangs=True, patience_s=0.3) as gateway:
        answer = gateway.chat(model="gpt")
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_broke_off"
        [span] = gateway.telemetry.spans
        assert attributes(span)["error.type"] == "upstream_broke_off"


@pytest.mark.parametrize("said", [(), (START,), (START, TEXT)], ids=["nothing", "head", "half"])
def test_an_upstream_that_takes_too_long_is_told_and_recorded(
    make_gateway: "Callable[..., Harness]", said: tuple[bytes, ...]
) -> None:
    with speaking(make_gateway, *said, hangs=True, request_timeout_s=0.3) as gateway:
        answer = gateway.chat(model="gpt", stream=True)
        told = json.loads(answer.content.split(b"data: ")[-1])
        assert told["error"]["code"] == "request_timeout"
        assert answer.status_code == (200 if said else 504)
        [span] = gateway.telemetry.spans
        assert (span.status, attributes(span)["error.type"]) == ("error", "request_timeout")
        assert span.output == ("hi" if TEXT in said else "")
        text = gateway.get("/metrics").text
        assert 'upstream_faults_total{fault="request_timeout"} 1.0' in text


def test_tokens_of_an_upstream_are_counted_as_its_usage_says(
    make_gateway: "Callable[..., Harness]",
) -> None:
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 50}}\n\n'
    with speaking(make_gateway, START, TEXT, END, usage, DONE, tokens_per_minute=100) as gateway:
        statuses = [gateway.chat(model="gpt", stream=True).status_code for _ in range(2)]
        assert statuses == [200, 429]


def test_a_client_that_leaves_leaves_a_span_with_what_was_said(
    make_gateway: "Callable[..., Harness]",
) -> None:
    with speaking(make_gateway, START, TEXT, hangs=True) as gateway, gateway.listening() as address:
        request = {"model": "gpt", "messages": [{"role": "user", "content": "x"}], "stream": True}
        with httpx2.stream("POST", f"{address}/v1/chat/completions", json=request) as answer:
            assert next(answer.iter_bytes()) == TEXT
        gateway.wait_until(lambda: bool(gateway.telemetry.spans), "its span")
        [span] = gateway.telemetry.spans
        assert (span.output, attributes(span)["error.type"]) == ("hi", "client_gone")
