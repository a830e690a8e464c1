"""What one client does holds up no other, and makes no call recorded twice."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "x" * 20_000}]}),
        ("completions", {"prompt": "x" * 20_000}),
        (
            "messages/count_tokens",
            {"messages": [{"role": "user", "content": "x" * 20_000}], "max_tokens": 1},
        ),
    ],
)
def test_a_long_prompt_holds_up_nobody(
    gateway: "Harness", monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    encode, go_on, reached = gateway.engine.encode, threading.Event(), threading.Event()

    def slow(text: str) -> tuple[int, ...]:
        if len(text) >= 20_000:
            reached.set()
            assert go_on.wait(20)
        return encode(text)

    monkeypatch.setattr(gateway.engine, "encode", slow)
    long = gateway.start(
        gateway.asend(f"/v1/{path}", method="POST", json={"model": "calc", **body})
    )
    assert reached.wait(20)
    assert gateway.chat().status_code == 200
    assert not long.done()
    go_on.set()
    assert long.result(20).status_code == 200


def test_ten_megabytes_are_a_prompt_like_any(gateway: "Harness") -> None:
    text = "é" * 5_000_000
    answer = gateway.chat(messages=[{"role": "user", "content": text}])
    assert answer.status_code == 200
    assert answer.json()["usage"]["prompt_tokens"] == len(text)
    [span] = gateway.telemetry.spans
    assert json.loads(span.input) == [{"role": "user", "content": text}]


def test_what_is_longer_than_the_limit_is_refused_and_names_it(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway().serve(0)
    answer = gateway.chat(messages=[{"role": "user", "content": "x" * (16 * 1024 * 1024)}])
    assert answer.status_code == 413
    assert "max_body_bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize("streams", [False, True])
def test_a_client_that_leaves_while_its_call_is_recorded_leaves_one_span(
    gateway: "Harness", streams: bool
) -> None:
    gateway.engine.pieces = ("1 + ", "2")
    gateway.engine.answer = replace(gateway.engine.answer, text="1 + 2")

    async def hold() -> asyncio.Event:
        gateway.telemetry.hold = asyncio.Event()
        return gateway.telemetry.hold

    held = gateway.run(hold())
    body = {"model": "calc", "messages": [{"role": "user", "content": "x"}], "stream": streams}
    with gateway.listening() as address:

        async def leave() -> None:
            async with httpx2.AsyncClient() as client:
                asking = asyncio.ensure_future(client.post(f"{address}{CHAT}", json=body))
                await asyncio.to_thread(gateway.telemetry.reached.wait, 20)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

        asyncio.run(leave())
        gateway.call(held.set)
        gateway.wait_until(lambda: gateway.state.in_flight == 0, "the call to end")
    [span] = gateway.telemetry.spans
    assert (span.status, span.output) == ("ok", "1 + 2")
