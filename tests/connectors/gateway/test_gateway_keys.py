"""Keys of projects, what a key may ask for, and how long a request may take."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from headrace.connectors.gateway import GatewayConfig
from headrace.connectors.settings import BadSettings
from tests.connectors.gateway.test_gateway_access import MODEL, bearer

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

BODIES: dict[str, Any] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "1+2"}]},
    "/v1/completions": {"prompt": "1+2"},
    "/v1/responses": {"input": "1+2"},
    "/v1/messages": {"messages": [{"role": "user", "content": "1+2"}], "max_tokens": 9},
}
apis = pytest.mark.parametrize("path", BODIES)


def body(path: str, **fields: Any) -> dict[str, Any]:
    return {"model": "calc", **BODIES[path], **fields}


@pytest.fixture
def shops(make_gateway: "Callable[..., Harness]") -> "Harness":
    return make_gateway(keys=("sk-any",), project_keys=("shop=sk=1", "blog=sk-2")).serve(0)


@pytest.mark.parametrize(
    ("key", "path", "project"),
    [
        ("sk=1", "", "shop"),
        ("sk-2", "", "blog"),
        ("sk-2", "/rollout/r/attempt/a", "blog"),
        ("sk-2", "/p/blog/rollout/r/attempt/a", "blog"),
        ("sk-2/rollout/r/attempt/a", "", "blog"),
        ("sk-any", "", "default"),
        ("sk-any", "/p/shop/rollout/r/attempt/a", "shop"),
    ],
)
def test_a_call_is_of_the_project_of_its_key(
    shops: "Harness", key: str, path: str, project: str
) -> None:
    asked = path + "/v1/chat/completions"
    answer = shops.post(asked, json=body("/v1/chat/completions"), headers=bearer(key))
    assert answer.status_code == 200
    [span] = shops.telemetry.spans
    assert span.project == project


@apis
@pytest.mark.parametrize(
    ("prefix", "headers"),
    [
        ("/p/blog/rollout/r/attempt/a", bearer("sk=1")),
        ("", {**bearer("sk=1"), "x-headrace-project": "blog"}),
        ("", bearer("sk=1/p/blog/rollout/r/attempt/a")),
    ],
)
def test_a_key_of_one_project_opens_no_other(
    shops: "Harness", path: str, prefix: str, headers: dict[str, str]
) -> None:
    answer = shops.post(prefix + path, json=body(path), headers=headers)
    assert answer.status_code == 403
    told = answer.json()["error"]
    assert "shop" in told["message"]
    assert "blog" not in told["message"]
    assert shops.telemetry.spans == []


def test_one_project_s_answers_are_not_gone_on_from_with_another_s_key(shops: "Harness") -> None:
    asked = body("/v1/responses")
    told = shops.post("/v1/responses", json=asked, headers=bearer("sk=1")).json()
    for key, status in (("sk-2", 404), ("sk=1", 200)):
        answer = shops.get(f"/v1/responses/{told['id']}", headers=bearer(key))
        assert answer.status_code == status


@pytest.mark.parametrize(
    "project_keys", [("sk",), ("=sk",), ("a/b=sk",), ("shop=",), ("shop=a", "blog=a"), ("shop=k",)]
)
def test_a_key_that_names_no_project_or_two_is_refused(project_keys: tuple[str, ...]) -> None:
    with pytest.raises(BadSettings, match="project_keys") as refused:
        GatewayConfig(model_directory=MODEL, keys=("k",), project_keys=project_keys)
    assert "sk" not in str(refused.value)


def test_a_key_that_ends_as_a_place_does_is_refused() -> None:
    with pytest.raises(BadSettings, match="keys"):
        GatewayConfig(model_directory=MODEL, keys=("k/rollout/r/attempt/a",))


def test_project_keys_are_secrets_and_open_the_gateway_to_others() -> None:
    config = GatewayConfig(host="0.0.0.0", model_directory=MODEL, project_keys=("shop=sk-1",))
    assert "sk-1" not in repr(config)
    assert config.key_for("shop") == "sk-1"
    assert GatewayConfig(model_directory=MODEL).key_for("shop") == ""


@apis
def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    make_gateway: "Callable[..., Harness]", path: str
) -> None:
    gateway = make_gateway(
        keys=("sk-0",), project_keys=("shop=sk-1",), requests_per_minute=1
    ).serve(0)
    statuses = []
    for key in ("sk-1", "sk-1", "sk-0"):
        answer = gateway.post(path, json=body(path), headers=bearer(key))
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            error = answer.json()["error"]
            assert "requests_per_minute" in error["message"]
            if path == "/v1/messages":
                assert error["type"] == "rate_limit_error"
            else:
                assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert statuses == [200, 429, 200]
    assert len(gateway.telemetry.spans) == 2
    line = 'headrace_gateway_limited_requests_total{limit="requests",project="shop"} 1.0'
    assert line in gateway.get("/metrics", headers=bearer("sk-0")).text


@pytest.mark.parametrize("stream", [False, True])
@apis
def test_tokens_of_an_answer_are_counted(
    make_gateway: "Callable[..., Harness]", path: str, stream: bool
) -> None:
    gateway = make_gateway(tokens_per_minute=6).serve(0)
    assert gateway.post(path, json=body(path, stream=stream)).status_code == 200  # 3 and 3
    refused = gateway.post(path, json=body(path, stream=stream))
    assert refused.status_code == 429
    assert "tokens_per_minute" in refused.json()["error"]["message"]


def test_official_clients_understand_a_limit(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway(requests_per_minute=1).serve(0)
    question: Any = {"role": "user", "content": "1+2"}
    with gateway.listening() as address:
        with openai.OpenAI(base_url=f"{address}/v1", api_key="k", max_retries=0) as one:
            one.chat.completions.create(model="calc", messages=[question])
            with pytest.raises(openai.RateLimitError) as limited:
                one.chat.completions.create(model="calc", messages=[question])
            assert limited.value.type == "requests"
        with (
            anthropic.Anthropic(base_url=address, api_key="k", max_retries=0) as other,
            pytest.raises(anthropic.RateLimitError),
        ):
            other.messages.create(model="calc", messages=[question], max_tokens=9)


def never(gateway: "Harness") -> None:
    async def hold() -> None:
        gateway.engine.hold = asyncio.Event()

    gateway.run(hold())


@pytest.mark.parametrize("stream", [False, True])
@apis
def test_an_answer_that_takes_too_long_is_cancelled_told_and_recorded(
    make_gateway: "Callable[..., Harness]", path: str, stream: bool
) -> None:
    gateway = make_gateway(request_timeout_s=0.2).serve(0)
    never(gateway)
    answer = gateway.post(path, json=body(path, stream=stream))
    assert answer.status_code == 504
    assert "request_timeout_s" in answer.json()["error"]["message"]
    if path == "/v1/messages":
        assert answer.json()["error"]["type"] == "timeout_error"
    else:
        assert answer.json()["error"]["code"] == "request_timeout"
    assert gateway.engine.cancelled == 1
    [span] = gateway.telemetry.spans
    assert (span.status, json.loads(span.attributes)["error.type"]) == ("error", "request_timeout")
    assert span.call is not None
    assert not span.call.trainable
    line = 'headrace_gateway_failed_calls_total{fault="request_timeout"} 1.0'
    assert line in gateway.get("/metrics").text


def test_a_stream_that_takes_too_long_ends_with_an_error_and_keeps_what_was_said(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(request_timeout_s=0.3).serve(0)
    gateway.engine.pieces = ("1 + ", "2")

    async def pause() -> None:
        gateway.engine.pause = asyncio.Event()

    gateway.run(pause())
    answer = gateway.chat(stream=True)
    assert answer.status_code == 200
    assert json.loads(answer.text.split("data: ")[-1])["error"]["code"] == "request_timeout"
    [span] = gateway.telemetry.spans
    assert (span.status, span.output) == ("error", "1 + ")
    assert gateway.engine.cancelled == 1


def test_a_request_that_is_never_sent_whole_is_no_call(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(request_timeout_s=0.2).serve(0)

    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    )
    with gateway.listening() as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(head + b'{"model": ')
            assert client.makefile("rb").readline().split()[1] == b"408"
    assert gateway.telemetry.spans == []
    assert 'headrace_gateway_requests_total{status="408"} 1.0' in gateway.get("/metrics").text
