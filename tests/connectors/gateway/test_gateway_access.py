"""Keys, limits, models, metrics, and the unmodified OpenAI client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.gateway import ConfigurationError, GatewayConfig
from headrace.connectors.gateway.config import config_from_environment
from headrace.connectors.gateway.run import listen
from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.settings import BadSettings

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

MODEL = Path("model")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_with_keys_set_only_their_bearers_may_ask(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway(keys=("sk-one", "sk-two")).serve(0)
    for headers in ({}, bearer("sk-on"), bearer(""), {"Authorization": "Basic sk-one"}):
        for path in ("/v1/models", "/metrics", "/rollout/r/attempt/a/v1/models"):
            answer = gateway.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
    assert gateway.chat().status_code == 401
    assert gateway.engine.requests == []
    for key in ("sk-one", "sk-two"):
        assert gateway.get("/v1/models", headers=bearer(key)).status_code == 200
    assert gateway.get("/healthz").status_code == 200


def test_anthropic_s_clients_send_their_key_in_a_header_of_its_own(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(keys=("sk-one",)).serve(0)
    for key, status in (("sk-one", 200), ("sk-on", 401), ("", 401)):
        assert gateway.get("/v1/models", headers={"x-api-key": key}).status_code == status
        both = {"x-api-key": key, "authorization": "Basic sk-one"}
        assert gateway.get("/v1/models", headers=both).status_code == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "gateway.example"])
def test_beyond_loopback_keys_are_required(host: str) -> None:
    with pytest.raises(BadSettings, match="keys"):
        GatewayConfig(host=host, model_directory=MODEL)
    GatewayConfig(host=host, model_directory=MODEL, keys=("sk-secret",))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_on_loopback_they_are_not(host: str) -> None:
    GatewayConfig(host=host, model_directory=MODEL)


@pytest.mark.parametrize(
    "fields",
    [
        {"port": 0},
        {"port": 70000},
        {"keys": (" ",)},
        {"max_body_bytes": 0},
        {"threads": 0},
        {"retry_s": -1},
    ],
)
def test_a_field_that_cannot_be_is_named(fields: dict[str, Any]) -> None:
    with pytest.raises(BadSettings) as refused:
        GatewayConfig(**{"model_directory": MODEL, **fields})
    assert next(iter(fields)) in str(refused.value)


def test_secrets_are_not_shown() -> None:
    config = GatewayConfig(model_directory=MODEL, keys=("sk-secret",), upstream_api_key="sk-secret")
    assert "sk-secret" not in repr(config)


def test_the_environment_fills_the_configuration() -> None:
    config = config_from_environment(
        {
            "HEADRACE_GATEWAY_HOST": "0.0.0.0",
            "HEADRACE_GATEWAY_PORT": "8123",
            "HEADRACE_GATEWAY_KEYS": "sk-one, sk-two",
            "HEADRACE_GATEWAY_THREADS": "",
            "HEADRACE_GATEWAY_SERVE_BASE": "true",
            "HEADRACE_POLICY_NAME": "assistant",
            "HEADRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "UNRELATED": "x",
        },
        ["--model-directory", "model"],
    )
    assert config == GatewayConfig(
        host="0.0.0.0",
        port=8123,
        policy=PolicySettings(name="assistant"),
        keys=("sk-one", "sk-two"),
        serve_base=True,
        kafka=KafkaAccess(bootstrap="127.0.0.1:1"),
        registry=RegistryAccess(url="http://127.0.0.1:8081"),
        model_directory=MODEL,
    )
    with pytest.raises(BadSettings, match="HEADRACE_GATEWAY_PORT"):
        config_from_environment({"HEADRACE_GATEWAY_PORT": "eight"}, ["--model-directory", "m"])


def test_a_taken_port_is_named_with_its_setting() -> None:
    for port in range(21000, 22000, 13):
        config = GatewayConfig(port=port, model_directory=MODEL)
        try:
            first = listen(config)
        except ConfigurationError:
            continue
        with first:
            first.listen()
            with pytest.raises(ConfigurationError, match="HEADRACE_GATEWAY_PORT"):
                listen(config)
        return
    pytest.fail("no free port")


def test_a_body_beyond_the_limit_is_refused_declared_or_not(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(max_body_bytes=200).serve(0)
    assert gateway.chat().status_code == 200
    answer = gateway.chat(user="u" * 200)
    assert answer.status_code == 413
    assert "max_body_bytes" in answer.json()["error"]["message"]

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 10

    answer = gateway.post(content=chunks(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_too_many_messages_are_refused(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway(max_messages=2).serve(0)
    answer = gateway.chat(messages=[{"role": "user", "content": "x"}] * 3)
    assert answer.status_code == 400
    assert "max_messages" in answer.json()["error"]["message"]


def test_requests_beyond_the_limit_are_told_to_come_back(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(max_in_flight=1).serve(0)

    async def hold() -> asyncio.Event:
        gateway.engine.hold = asyncio.Event()
        return gateway.engine.hold

    held = gateway.run(hold())
    request = {"model": "calc", "messages": [{"role": "user", "content": "x"}]}
    first = gateway.start(gateway.asend("/v1/chat/completions", method="POST", json=request))
    gateway.wait_until(lambda: len(gateway.engine.requests) == 1, "the first request")
    second = gateway.chat()
    assert second.status_code == 429
    assert second.headers["retry-after"]
    gateway.call(held.set)
    assert first.result(20).status_code == 200
    assert gateway.chat().status_code == 200


def test_models_are_the_policy_and_its_versions(gateway: "Harness") -> None:
    gateway.serve(1)
    for path in ("/v1/models", "/rollout/r/attempt/a/v1/models"):
        models = gateway.get(path).json()
        assert models["object"] == "list"
        assert [model["id"] for model in models["data"]] == ["calc", "calc@0", "calc@1"]
    assert gateway.get("/v1/models/calc@0").json()["version"] == 0
    assert gateway.get("/v1/models/calc@2").status_code == 404


def test_metrics_count_what_happened(gateway: "Harness") -> None:
    gateway.chat()
    gateway.chat("/rollout/r/attempt/a/v1/chat/completions", temperature=0)
    gateway.chat(n=0)
    text = gateway.get("/metrics").text
    for line in (
        'headrace_gateway_requests_total{status="200"} 2.0',
        'headrace_gateway_requests_total{status="400"} 1.0',
        'headrace_gateway_calls_total{policy="calc",untrainable_reason=""} 1.0',
        'headrace_gateway_calls_total{policy="calc",untrainable_reason="greedy"} 1.0',
        'headrace_gateway_tokens_total{kind="prompt",policy="calc"} 6.0',
        'headrace_gateway_tokens_total{kind="sampled",policy="calc"} 6.0',
        "headrace_gateway_request_seconds_count 3.0",
        'headrace_gateway_durable_calls_total{where="delivered"} 2.0',
        "headrace_gateway_in_flight 0.0",
        'headrace_engine_running{policy="calc"} 2.0',
        'headrace_engine_waiting{policy="calc"} 3.0',
        'headrace_policy_version{policy="calc"} 0.0',
    ):
        assert line in text.splitlines()


def test_the_unmodified_openai_client_is_served(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway(keys=("sk-one",)).serve(0)
    with gateway.listening() as address:
        base_url = f"{address}/p/shop/rollout/r-1/attempt/a-1/v1"
        with openai.OpenAI(base_url=base_url, api_key="sk-one", max_retries=0) as client:
            completion = client.chat.completions.create(
                model="calc", messages=[{"role": "user", "content": "1+2"}], seed=3, logprobs=True
            )
            [span] = gateway.telemetry.spans
            assert completion.id == f"chatcmpl-{span.span_id}"
            assert completion.choices[0].message.content == "<calc>1 + 2</calc>"
            assert completion.usage is not None
            assert completion.usage.total_tokens == 6
            # The answer goes back as a message, with the fields the server gave it.
            client.chat.completions.create(
                model="calc",
                messages=[
                    {"role": "user", "content": "1+2"},
                    completion.choices[0].message,  # type: ignore[list-item]  # as users do
                    {"role": "user", "content": "3"},
                ],
            )
            assert {s.rollout_id for s in gateway.telemetry.spans} == {"r-1"}
            assert {s.project for s in gateway.telemetry.spans} == {"shop"}
            assert [model.id for model in client.models.list()] == ["calc", "calc@0"]
            assert client.models.retrieve("calc@0").id == "calc@0"
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(
                    model="calc@5", messages=[{"role": "user", "content": "x"}]
                )
            with pytest.raises(openai.BadRequestError, match="logit_bias"):
                client.chat.completions.create(
                    model="calc",
                    messages=[{"role": "user", "content": "x"}],
                    logit_bias={"1": 500},
                )
        with (
            openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0) as stranger,
            pytest.raises(openai.AuthenticationError),
        ):
            stranger.models.list()
