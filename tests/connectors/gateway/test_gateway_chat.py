"""Chat completions as an OpenAI client sees them, and the spans they leave."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.connectors.engines import EngineClosed, GenerationFailed, PromptTooLong
from headrace.schemas import Codec, build_span_batch, read_span_batch
from tests.support.waiting import wait_until_async

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

PREFIX = "/rollout/r-1/attempt/a-1"


def test_a_completion_has_openai_s_shape(gateway: "Harness") -> None:
    answer = gateway.chat(model="calc", max_tokens=9).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "calc"
    choice = answer["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "<calc>1 + 2</calc>"
    assert choice["finish_reason"] == "stop"
    assert choice["logprobs"] is None
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert answer["system_fingerprint"] == "calc@0"


def test_the_span_holds_the_tokens_and_how_they_were_drawn(gateway: "Harness") -> None:
    answer = gateway.chat(
        PREFIX + "/v1/chat/completions",
        temperature=0.7,
        max_completion_tokens=9,
        seed=11,
        stop=["</calc>"],
    ).json()
    [span] = gateway.telemetry.spans
    assert (span.project, span.rollout_id, span.attempt) == ("default", "r-1", "a-1")
    assert (span.kind, span.status, span.output) == ("call", "ok", "<calc>1 + 2</calc>")
    assert json.loads(span.input) == [{"role": "user", "content": "1+2"}]
    assert 0 < span.started_at <= span.ended_at
    attributes = json.loads(span.attributes)
    assert attributes["gen_ai.request.stop_sequences"] == ["</calc>"]
    assert attributes["gen_ai.usage.output_tokens"] == 3
    call = span.call
    assert call is not None
    assert call.response_id == answer["id"] == f"chatcmpl-{span.span_id}"
    assert call.prompt_ids.tolist() == [ord(c) for c in "1+2"]
    assert call.sampled_ids.tolist() == [44, 45, 2]
    assert call.logprobs.tolist() == [-0.5, -0.25, -0.125]
    assert call.logprobs.dtype == np.float32
    assert call.runs == ((0, 3),)
    assert (call.model, call.policy) == ("tiny", "calc")
    assert (call.temperature, call.top_p, call.top_k) == (0.7, 1.0, 0)
    assert (call.seed, call.max_tokens, call.finish_reason) == (11, 9, "stop")
    assert (call.trainable, call.untrainable_reason) == (True, "")


def test_the_span_can_be_put_on_the_wire(gateway: "Harness") -> None:
    gateway.chat()
    batch = build_span_batch(
        gateway.telemetry.spans,
        producer="p",
        sequence=0,
        episode_batches={(s.project, s.rollout_id, s.attempt): 0 for s in gateway.telemetry.spans},
    )

    class OneSchema:
        def schema_id(self, topic: str) -> int:
            return 1

        def writer_schema(self, schema_id: int) -> dict[str, Any]:
            from headrace.schemas import schema_text

            schema: dict[str, Any] = json.loads(schema_text("headrace.spans"))
            return schema

    codec = Codec(OneSchema())
    value = codec.encode("headrace.spans", batch)
    columns = read_span_batch(codec.decode("headrace.spans", value))
    assert columns.calls is not None
    assert columns.calls["sampled_ids"].values.tolist() == [44, 45, 2]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("/rollout/r-1/attempt/a-1", ("default", "r-1", "a-1")),
        ("/p/shop/rollout/r-1/attempt/a-1", ("shop", "r-1", "a-1")),
    ],
)
def test_the_path_says_which_attempt_a_call_belongs_to(
    gateway: "Harness", prefix: str, expected: tuple[str, str, str]
) -> None:
    for _ in range(2):
        gateway.chat(f"{prefix}/v1/chat/completions")
    spans = gateway.telemetry.spans
    assert [(s.project, s.rollout_id, s.attempt) for s in spans] == [expected, expected]
    assert spans[0].span_id != spans[1].span_id


def test_a_call_without_a_prefix_is_a_rollout_of_its_own(gateway: "Harness") -> None:
    for _ in range(2):
        gateway.chat()
    first, second = gateway.telemetry.spans
    assert first.rollout_id != second.rollout_id
    assert first.attempt != second.attempt
    assert first.call is not None
    assert first.call.trainable


@pytest.mark.parametrize(
    "prefix",
    ["/rollout/r%201/attempt/a", "/rollout/r/attempt/" + "a" * 129, "/p/ä/rollout/r/attempt/a"],
)
def test_an_illegal_id_in_the_path_is_refused(gateway: "Harness", prefix: str) -> None:
    answer = gateway.chat(f"{prefix}/v1/chat/completions")
    assert answer.status_code == 400
    assert "must match" in answer.json()["error"]["message"]
    assert gateway.engine.requests == []


def test_a_header_names_the_agent(gateway: "Harness") -> None:
    headers = {"x-headrace-agent": "planner"}
    gateway.post(
        json={"model": "calc", "messages": [{"role": "user", "content": "x"}]}, headers=headers
    )
    gateway.chat()
    assert [span.agent for span in gateway.telemetry.spans] == ["planner", ""]


def test_no_byte_goes_out_before_the_call_is_durable(gateway: "Harness") -> None:
    async def hold() -> asyncio.Event:
        gateway.telemetry.hold = asyncio.Event()
        return gateway.telemetry.hold

    held = gateway.run(hold())
    answer = gateway.start(
        gateway.asend(
            "/v1/chat/completions",
            method="POST",
            json={"model": "calc", "messages": [{"role": "user", "content": "x"}]},
        )
    )
    assert gateway.telemetry.reached.wait(20)
    with pytest.raises(TimeoutError):
        answer.result(0.05)
    gateway.call(held.set)
    assert answer.result(20).status_code == 200


def test_an_answer_that_cannot_be_recorded_is_held_back(gateway: "Harness") -> None:
    gateway.telemetry.error = OSError("disk full")
    answer = gateway.chat()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "telemetry_not_durable"
    assert answer.headers["retry-after"]
    assert "headrace_gateway_undurable_calls_total 1.0" in gateway.get("/metrics").text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"temperature": 0}, "greedy"),
        ({"top_p": 0.9}, "off_support"),
        ({"top_k": 5}, "off_support"),
        ({"top_p": 1, "top_k": -1, "temperature": 1.5}, ""),
        ({"top_p": 1.0, "top_k": 0}, ""),
    ],
)
def test_the_effective_sampling_decides_whether_a_call_is_trainable(
    gateway: "Harness", fields: dict[str, Any], reason: str
) -> None:
    answer = gateway.chat(**fields).json()
    [span] = gateway.telemetry.spans
    assert span.call is not None
    assert span.call.untrainable_reason == reason == answer["headrace"]["untrainable_reason"]
    assert span.call.trainable is (reason == "")
    sampling = gateway.engine.requests[0].sampling
    assert span.call.temperature == sampling.temperature
    assert (span.call.top_p, span.call.top_k) == (sampling.top_p, sampling.top_k)


def test_an_empty_completion_is_answered_recorded_and_not_trained(gateway: "Harness") -> None:
    gateway.engine.answer = replace(
        gateway.engine.answer, token_ids=(), logprobs=(), versions=(), text=""
    )
    answer = gateway.chat().json()
    assert answer["choices"][0]["message"]["content"] == ""
    [span] = gateway.telemetry.spans
    assert span.call is not None
    assert (span.call.trainable, span.call.untrainable_reason) == (False, "empty_completion")
    assert span.call.runs == ()


def test_logprobs_of_the_sampled_tokens_are_given_if_asked(gateway: "Harness") -> None:
    answer = gateway.chat(logprobs=True, top_logprobs=0).json()
    entries = answer["choices"][0]["logprobs"]["content"]
    assert [entry["logprob"] for entry in entries] == [-0.5, -0.25, -0.125]
    assert [(entry["token"], entry["bytes"]) for entry in entries[:2]] == [(",", [44]), ("-", [45])]


def test_a_pinned_version_is_sampled_and_the_name_keeps_its_meaning(gateway: "Harness") -> None:
    gateway.serve(1)
    assert gateway.chat(model="calc@0").json()["system_fingerprint"] == "calc@0"
    assert gateway.chat(model="calc").json()["system_fingerprint"] == "calc@1"
    assert [request.version for request in gateway.engine.requests] == [0, None]


def test_a_pinned_version_that_was_never_loaded_is_loaded_on_demand(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway().serve(0, 1, 2)
    assert gateway.chat(model="calc@1").json()["headrace"]["versions"] == [[1, 3]]
    assert gateway.engine.loads == [(2, "/weights/2"), (1, "/weights/1")]
    assert gateway.engine.current == 2


def test_a_pinned_version_whose_weights_are_gone_is_an_error(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway().serve(0, 1)
    gateway.engine.bad_directories.add("/weights/0")
    answer = gateway.chat(model="calc@0")
    assert answer.status_code == 502
    assert "/weights/0" in answer.json()["error"]["message"]


@pytest.mark.parametrize("model", ["gpt-4o-mini", "other@7", "Calc"])
def test_another_model_s_name_is_a_name_of_the_policy(gateway: "Harness", model: str) -> None:
    answer = gateway.chat(model=model).json()
    assert answer["model"] == model
    [span] = gateway.telemetry.spans
    assert span.call is not None
    assert (span.call.model, span.call.policy) == ("tiny", "calc")
    assert json.loads(span.attributes)["gen_ai.request.model"] == model


def test_other_models_are_unknown_where_the_gateway_is_told_so(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(other_models="refuse").serve(0)
    assert gateway.chat(model="gpt-4o-mini").status_code == 404
    assert gateway.chat(model="calc").status_code == 200


@pytest.mark.parametrize("model", ["calc@9", "calc@x"])
def test_an_unknown_version_is_not_found(gateway: "Harness", model: str) -> None:
    answer = gateway.chat(model=model)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert gateway.telemetry.spans == []


def test_before_version_0_the_gateway_says_what_it_waits_for(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway()
    for awaited in ("the log to be read", "version 0 of calc on the log"):
        answer = gateway.chat()
        assert answer.status_code == 503
        assert awaited in answer.json()["error"]["message"]
        assert answer.headers["retry-after"]
        health = gateway.get("/healthz")
        assert health.status_code == 503
        assert awaited in health.json()["waiting_for"]
        gateway.call(gateway.serving.start, [])
    gateway.serve(0)
    assert gateway.chat().status_code == 200
    assert gateway.get("/healthz").json() == {
        "status": "ok",
        "waiting_for": "",
        "policy": "calc",
        "version": 0,
        "policies": {"calc": {"version": 0}},
    }


def test_base_weights_may_be_served_before_version_0_and_are_not_trained(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(serve_base=True)
    answer = gateway.chat().json()
    assert answer["headrace"]["untrainable_reason"] == "no_policy"
    assert answer["system_fingerprint"] is None
    [span] = gateway.telemetry.spans
    assert span.call is not None
    assert (span.call.policy, span.call.runs) == ("", ())
    gateway.serve(0)
    assert gateway.chat().json()["headrace"]["trainable"] is True


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (GenerationFailed("nan"), 502, "backend_failed"),
        (EngineClosed("closed"), 502, "backend_failed"),
        (PromptTooLong("4000 tokens"), 400, "context_length_exceeded"),
    ],
)
def test_a_call_that_fails_leaves_a_span(
    gateway: "Harness", error: Exception, status: int, code: str
) -> None:
    gateway.engine.error = error
    answer = gateway.chat(PREFIX + "/v1/chat/completions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    [span] = gateway.telemetry.spans
    assert (span.rollout_id, span.status, span.output) == ("r-1", "error", "")
    assert json.loads(span.attributes)["error.type"] == code
    assert span.call is not None
    assert (span.call.trainable, span.call.untrainable_reason) == (False, "call_failed")


def test_a_client_that_leaves_stops_its_generation(gateway: "Harness") -> None:
    async def leave_while_it_generates(address: str) -> None:
        gateway.engine.hold = asyncio.Event()
        host, _, port = address.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        content = json.dumps({"model": "calc", "messages": [{"role": "user", "content": "x"}]})
        head = (
            f"POST {PREFIX}/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        writer.write((head + content).encode())
        await writer.drain()
        await wait_until_async(lambda: bool(gateway.engine.requests), "the engine's request")
        writer.close()

    with gateway.listening() as address:
        gateway.run(leave_while_it_generates(address))
        gateway.wait_until(lambda: len(gateway.telemetry.spans) == 1, "the span of the call")
    [span] = gateway.telemetry.spans
    assert gateway.engine.cancelled == 1
    assert json.loads(span.attributes)["error.type"] == "client_gone"
