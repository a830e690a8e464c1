"""Where a call belongs, as its headers, its base URL, its trace and its key say."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

CHAT = "/v1/chat/completions"
HERE = {"x-headrace-rollout": "r1", "x-headrace-attempt": "a1", "x-headrace-project": "p1"}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STRICT = {
    "type": "function",
    "function": {"name": "add", "strict": True, "parameters": {"type": "object"}},
}


@pytest.mark.parametrize(
    ("path", "headers", "place"),
    [
        (CHAT, HERE, ("p1", "r1", "a1")),
        (CHAT, {"x-rollout-id": "r1", "x-attempt-id": "a1"}, ("default", "r1", "a1")),
        (CHAT, {**HERE, "x-rollout-id": "r1"}, ("p1", "r1", "a1")),
        ("/p/p1/rollout/r1/attempt/a1" + CHAT, HERE, ("p1", "r1", "a1")),
        ("/rollout/r1/attempt/a1" + CHAT, {"x-headrace-project": "p1"}, ("p1", "r1", "a1")),
        ("/rollout/r1/attempt/a1" + CHAT, {"x-rollout-id": ""}, ("default", "r1", "a1")),
    ],
)
def test_headers_and_the_base_url_say_where_a_call_belongs(
    gateway: "Harness", path: str, headers: dict[str, str], place: tuple[str, str, str]
) -> None:
    answer = gateway.post(path, json=_body(), headers=headers)
    assert answer.status_code == 200, answer.text
    (span,) = gateway.telemetry.spans
    assert (span.project, span.rollout_id, span.attempt) == place


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        ("/rollout/r2/attempt/a1" + CHAT, HERE, "x-headrace-rollout 'r1'"),
        ("/p/p2/rollout/r1/attempt/a1" + CHAT, HERE, "x-headrace-project 'p1'"),
        (CHAT, {**HERE, "x-attempt-id": "a2"}, "x-attempt-id 'a2'"),
        (CHAT, {"x-headrace-rollout": "r1"}, "belong together"),
        (CHAT, {"x-attempt-id": "a1"}, "belong together"),
        (CHAT, {**HERE, "x-headrace-rollout": "r/1"}, "cannot be"),
    ],
)
def test_what_contradicts_or_is_half_is_refused(
    gateway: "Harness", path: str, headers: dict[str, str], told: str
) -> None:
    answer = gateway.post(path, json=_body(), headers=headers)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
    assert not gateway.telemetry.spans


@pytest.mark.parametrize(
    ("parent", "status"), [(SPAN, 200), ("0" * 16, 400), ("abc", 400), (SPAN.upper(), 400)]
)
def test_a_call_may_name_the_span_that_it_was_made_in(
    gateway: "Harness", parent: str, status: int
) -> None:
    answer = gateway.post(CHAT, json=_body(), headers={**HERE, "x-headrace-parent": parent})
    assert answer.status_code == status
    assert [span.parent_id for span in gateway.telemetry.spans] == [parent] * (status == 200)


def test_who_names_the_span_that_called_is_in_its_rollout_all_the_same(
    gateway: "Harness",
) -> None:
    body = {**_body(), "tools": [STRICT]}
    for headers in ({"x-headrace-parent": SPAN}, {"x-headrace-parent": SPAN, **HERE}):
        assert gateway.post(CHAT, json=body, headers=headers).status_code == 200
    # Strict tools bind calls that are in no rollout.
    masked = [request.constraint is not None for request in gateway.engine.requests]
    assert masked == [True, False]


def test_one_idempotency_key_in_two_attempts_is_two_calls(gateway: "Harness") -> None:
    for attempt in ("a1", "a2", "a2"):
        headers = {**HERE, "x-headrace-attempt": attempt, "idempotency-key": "k"}
        assert gateway.post(CHAT, json=_body(), headers=headers).status_code == 200
    assert [span.attempt for span in gateway.telemetry.spans] == ["a1", "a2"]


@pytest.mark.parametrize("stream", [False, True])
def test_two_attempts_at_once_keep_apart(gateway: "Harness", stream: bool) -> None:
    hold = gateway.call(asyncio.Event)
    gateway.engine.hold = hold
    places = [f"/rollout/r/attempt/a{i % 2}/v1/chat/completions" for i in range(6)]
    calls = [
        gateway.start(gateway.asend(place, method="POST", json={**_body(), "stream": stream}))
        for place in places
    ]
    gateway.wait_until(lambda: len(gateway.engine.requests) == len(places), "all to be asked")
    gateway.call(hold.set)
    assert {call.result(20).status_code for call in calls} == {200}
    spans = gateway.telemetry.spans
    assert sorted(span.attempt for span in spans) == ["a0"] * 3 + ["a1"] * 3
    assert {span.rollout_id for span in spans} == {"r"}
    assert len({span.span_id for span in spans}) == len(places)


@pytest.mark.parametrize(
    ("headers", "rollout", "parent"),
    [
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, f"trace-{TRACE}", SPAN),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01", **HERE}, "r1", ""),
    ],
)
def test_a_trace_is_the_rollout_of_a_call_that_names_none(
    gateway: "Harness", headers: dict[str, str], rollout: str, parent: str
) -> None:
    assert gateway.post(CHAT, json=_body(), headers=headers).status_code == 200
    (span,) = gateway.telemetry.spans
    assert (span.rollout_id, span.parent_id) == (rollout, parent)


@pytest.mark.parametrize("bad", ["", "x", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01"])
def test_a_trace_that_is_none_leaves_the_call_alone(gateway: "Harness", bad: str) -> None:
    assert gateway.post(CHAT, json=_body(), headers={"traceparent": bad}).status_code == 200
    (span,) = gateway.telemetry.spans
    assert not span.rollout_id.startswith("trace-")


def _body() -> dict[str, object]:
    return {"model": "calc", "messages": [{"role": "user", "content": "1+2"}]}


KEY = "Bearer k/p/p3/rollout/r3/attempt/a3"


@pytest.mark.parametrize(
    ("path", "headers", "place"),
    [
        (CHAT, {"authorization": KEY}, ("p3", "r3", "a3")),
        (CHAT, {"x-api-key": "k/rollout/r3/attempt/a3"}, ("default", "r3", "a3")),
        (CHAT, {"authorization": KEY, **HERE}, ("p1", "r1", "a1")),
        ("/rollout/r2/attempt/a2" + CHAT, {"authorization": KEY}, ("p3", "r2", "a2")),
        (
            CHAT,
            {"authorization": KEY, "traceparent": f"00-{TRACE}-{SPAN}-01"},
            ("p3", f"trace-{TRACE}", TRACE),
        ),
    ],
)
def test_a_key_says_where_a_call_belongs_that_nothing_before_it_places(
    gateway: "Harness", path: str, headers: dict[str, str], place: tuple[str, str, str]
) -> None:
    assert gateway.post(path, json=_body(), headers=headers).status_code == 200
    (span,) = gateway.telemetry.spans
    assert (span.project, span.rollout_id, span.attempt) == place


def test_a_key_with_a_place_is_the_key(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway(keys=("sk/one",)).serve(0)
    for given, status in (
        ("sk/one/rollout/r/attempt/a", 200),
        ("sk/one/p/q/rollout/r/attempt/a", 200),
        ("sk/two/rollout/r/attempt/a", 401),
        ("/rollout/r/attempt/a", 401),
        ("sk/one/rollout/r/attempt/é", 400),
        ("sk/one/rollout/r/attempt/a!", 400),
    ):
        headers = {"authorization": f"Bearer {given}".encode()}
        answer = gateway.post(CHAT, json=_body(), headers=headers)
        assert answer.status_code == status, given
