"""Other models go to an upstream as they are; their calls are telemetry only."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from headrace.connectors.engines.upstream import Upstream, UpstreamAnswer, UpstreamConfig
from headrace.connectors.gateway.backends.forwarded import Forwarded, read_answer
from headrace.connectors.gateway.calls import IncomingCall
from headrace.connectors.gateway.correlation import Correlation

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness


def test_a_foreign_model_is_answered_by_the_upstream(
    forwarding: "tuple[Harness, Harness]",
) -> None:
    gateway, behind = forwarding
    answer = gateway.chat("/rollout/r-1/attempt/a-1/v1/chat/completions", model="gpt").json()
    assert answer["system_fingerprint"] == "gpt@4"
    assert gateway.engine.requests == []
    [span] = gateway.telemetry.spans
    [theirs] = behind.telemetry.spans
    assert span.call is not None
    assert (span.rollout_id, span.output) == ("r-1", "<calc>1 + 2</calc>")
    assert span.call.response_id == answer["id"] == f"chatcmpl-{theirs.span_id}"
    assert (span.call.trainable, span.call.untrainable_reason) == (False, "no_tokens")
    assert span.call.policy == ""
    assert len(span.call.sampled_ids) == 0
    assert json.loads(span.attributes)["gen_ai.usage.input_tokens"] == 3


def test_our_policy_is_still_our_engine_s(forwarding: "tuple[Harness, Harness]") -> None:
    gateway, behind = forwarding
    assert gateway.chat(model="calc").json()["system_fingerprint"] == "calc@0"
    assert behind.engine.requests == []


def test_an_error_of_the_upstream_is_passed_on_and_recorded(
    forwarding: "tuple[Harness, Harness]",
) -> None:
    gateway, _ = forwarding
    answer = gateway.chat(model="gpt", logit_bias={"1": 500})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "logit_bias"
    [span] = gateway.telemetry.spans
    assert span.status == "error"
    assert "logit_bias.1 is 500.0" in span.output


def test_an_upstream_that_is_away_is_a_502_and_leaves_a_span(
    make_gateway: "Callable[..., Harness]",
) -> None:
    upstream = Upstream(UpstreamConfig(url="http://127.0.0.1:9/v1"))
    gateway = make_gateway(forwarded=Forwarded(upstream)).serve(0)
    answer = gateway.chat(model="gpt")
    assert answer.status_code == 502
    assert "127.0.0.1:9" in answer.json()["error"]["message"]
    [span] = gateway.telemetry.spans
    assert (span.status, json.loads(span.attributes)["error.type"]) == ("error", "backend_failed")
    gateway.run(upstream.close())


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"choices": "x", "usage": 3, "id": 7, "model": null}',
        b'{"choices": [7]}',
        b'{"choices": [{"message": 7, "finish_reason": 1}], "usage": {"prompt_tokens": 1e99}}',
        b'{"choices": [{"message": {"content": "\\ud800"}}], "id": "\\udfff"}',
    ],
)
def test_an_odd_answer_leaves_fields_empty(told: bytes) -> None:
    asked = IncomingCall(
        span_id="0" * 15 + "1",
        correlation=Correlation(project="default", rollout_id="r", attempt="a", agent=""),
        model="gpt",
        response_id="chatcmpl-1",
        content=[],
        started_at=1,
    )
    body: dict[str, Any] = {"temperature": "hot", "max_tokens": -3}
    completion = read_answer(asked, body, UpstreamAnswer(status=200, body=told))
    assert completion.call.model == "gpt"
    assert (completion.call.temperature, completion.call.max_tokens) == (1.0, 0)
    assert completion.prompt_tokens == 0
    completion.output.encode()
    completion.call.response_id.encode()


def test_tool_calls_of_the_upstream_are_kept_as_its_output() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}
    told = json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    asked = IncomingCall(
        span_id="0" * 15 + "1",
        correlation=Correlation(project="default", rollout_id="r", attempt="a", agent=""),
        model="gpt",
        response_id="chatcmpl-1",
        content=[],
        started_at=1,
    )
    completion = read_answer(asked, {}, UpstreamAnswer(status=200, body=told.encode()))
    assert json.loads(completion.output) == message
    assert completion.call.finish_reason == "tool_calls"
