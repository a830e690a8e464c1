"""A retry with the same Idempotency-Key is the same call; without one it is a call of its own."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import openai
import pytest
from starlette.responses import Response

from headrace.connectors.engines import GenerationFailed
from headrace.connectors.gateway.retries import KEPT_S, Retries

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

KEY = {"Idempotency-Key": "k-1"}
CHAT = "/v1/chat/completions"


def asked(gateway: "Harness", headers: dict[str, str] = KEY, path: str = CHAT, **more: Any) -> Any:
    body = {"model": "calc", "messages": [{"role": "user", "content": "1+2"}], **more}
    return gateway.post(path, json=body, headers=headers)


@pytest.mark.parametrize("streams", [False, True])
def test_the_same_key_and_body_get_the_first_answer_again(
    gateway: "Harness", streams: bool
) -> None:
    gateway.engine.pieces = ("<calc>1 +", " 2</calc>")
    first = asked(gateway, stream=streams)
    again = asked(gateway, stream=streams)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    assert len(gateway.telemetry.spans) == len(gateway.engine.requests) == 1


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({}, {}),
        ({"Idempotency-Key": "k-2"}, {}),
        (KEY, {"seed": 1}),
        (KEY, {"path": "/rollout/r/attempt/a/v1/chat/completions"}),
        ({**KEY, "Authorization": "Bearer another"}, {}),
    ],
    ids=["no key", "another key", "another body", "another attempt", "another client"],
)
def test_what_differs_is_another_call(
    gateway: "Harness", headers: dict[str, str], more: dict[str, Any]
) -> None:
    asked(gateway)
    assert "idempotent-replayed" not in asked(gateway, headers, **more).headers
    assert len(gateway.telemetry.spans) == len(gateway.engine.requests) == 2


@pytest.mark.parametrize("streams", [False, True])
def test_after_an_error_a_retry_is_a_call_of_its_own(gateway: "Harness", streams: bool) -> None:
    gateway.engine.pieces = ("<calc>", "1 + 2</calc>")
    gateway.engine.late_error = GenerationFailed("no memory")
    asked(gateway, stream=streams)
    gateway.engine.late_error = None
    assert asked(gateway, stream=streams).status_code == 200
    assert [span.status for span in gateway.telemetry.spans] == ["error", "ok"]


def two_at_once(gateway: "Harness") -> tuple[Any, Any, asyncio.Event]:
    """Two requests that are one, while the engine answers the first; and what lets it go on."""

    async def hold() -> asyncio.Event:
        gateway.engine.hold = asyncio.Event()
        return gateway.engine.hold

    held = gateway.run(hold())
    body = {"model": "calc", "messages": [{"role": "user", "content": "1+2"}]}
    first, second = (
        gateway.start(gateway.asend(CHAT, method="POST", json=body, headers=KEY)) for _ in range(2)
    )
    gateway.wait_until(
        lambda: gateway.state.in_flight == 2 and bool(gateway.engine.requests), "both to be asked"
    )
    return first, second, held


def test_two_at_once_are_one_call(gateway: "Harness") -> None:
    first, second, held = two_at_once(gateway)
    gateway.call(held.set)
    assert first.result(20).content == second.result(20).content
    assert len(gateway.telemetry.spans) == len(gateway.engine.requests) == 1


def test_who_waited_for_a_call_that_failed_makes_its_own(gateway: "Harness") -> None:
    first, second, held = two_at_once(gateway)
    first.cancel()
    gateway.wait_until(lambda: gateway.engine.cancelled == 1, "the first to end")
    gateway.call(held.set)
    assert second.result(20).status_code == 200
    assert len(gateway.engine.requests) == 2


def test_openai_s_client_can_name_a_request_for_its_retries(gateway: "Harness") -> None:
    with gateway.listening() as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=3)

        def ask() -> Any:
            return client.chat.completions.create(
                model="calc", messages=[{"role": "user", "content": "1+2"}], extra_headers=KEY
            )

        with client:
            assert ask().id == ask().id
    assert len(gateway.telemetry.spans) == 1


def test_a_retry_says_so_on_its_span(gateway: "Harness") -> None:
    asked(gateway, {"x-stainless-retry-count": "2"})
    asked(gateway, {"x-stainless-retry-count": "0"})
    told = [json.loads(span.attributes).get("headrace.retry") for span in gateway.telemetry.spans]
    assert told == [2, None]


@pytest.mark.parametrize(
    ("size", "held"), [(1000, [b"3"]), (2000, [b"1", b"2", b"3"]), (10, []), (0, [])]
)
def test_the_oldest_answers_go_first(size: int, held: list[bytes]) -> None:
    memory = Retries(size)
    given = [b"1", b"2", b"3"]

    async def answered(name: bytes) -> Response:
        return Response(name, media_type="text/plain")

    async def again(name: bytes) -> bytes | None:
        made: list[bytes] = []

        async def answer() -> Response:
            made.append(name)
            return Response(b"made anew", 500)

        response = await memory.once(name, answer)
        return None if made else bytes(response.body)

    async def run() -> list[bytes | None]:
        for name in given:
            await memory.once(name, partial(answered, name))
        return [await again(name) for name in given]

    assert [one for one in asyncio.run(run()) if one] == held
    assert memory.bytes <= size


def test_an_answer_is_kept_for_so_long() -> None:
    now = 0.0
    memory = Retries(10_000, clock=lambda: now)
    made = 0

    async def answer() -> Response:
        nonlocal made
        made += 1
        return Response(b"x")

    async def run() -> None:
        nonlocal now
        for at in (0.0, KEPT_S - 1, KEPT_S + 1):
            now = at
            await memory.once(b"k", answer)

    asyncio.run(run())
    assert made == 2
    assert memory.bytes < 1000


@pytest.mark.parametrize(
    ("given", "told"), [("mine-1", "mine-1"), ("", "req_"), ("x" * 129, "req_"), ("é", "req_")]
)
def test_an_answer_names_its_request(gateway: "Harness", given: str, told: str) -> None:
    answer = asked(gateway, {"x-request-id": given.encode("latin-1")} if given else {})  # type: ignore[dict-item]
    assert answer.headers["x-request-id"].startswith(told)
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    [span] = gateway.telemetry.spans
    kept = json.loads(span.attributes).get("headrace.request_id")
    assert kept == ("mine-1" if given == "mine-1" else None)


def test_a_refusal_names_its_request_too(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway(keys=("secret",))
    assert gateway.get("/v1/models").headers["x-request-id"].startswith("req_")
