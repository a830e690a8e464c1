"""What of a call a model sees, and what of it is kept."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from headrace.connectors.engines import Generation, GenerationFailed
from headrace.connectors.engines.policy import PolicySettings
from headrace.connectors.engines.upstream import Upstream, UpstreamConfig
from headrace.connectors.gateway import GatewayConfig
from headrace.connectors.gateway.backends.forwarded import Forwarded
from headrace.connectors.gateway.config import config_from_environment
from headrace.connectors.privacy import Privacy, PrivacySettings
from headrace.connectors.privacy.spans import kept
from headrace.schemas import Call, Span

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

SECRET = "alice@example.com"
REDACTED = "[email]"
REDACTING = PrivacySettings(redact=("all",))
Make = Callable[..., "Harness"]


def says(text: str) -> Generation:
    """A completion of a token a character, as the engine of these tests has them."""
    n = len(text)
    return Generation(
        token_ids=tuple(map(ord, text)),
        logprobs=(-0.5,) * n,
        versions=(0,) * n,
        text=text,
        finish_reason="stop",
        stop=None,
        stop_token_included=False,
    )


def only_call(gateway: "Harness") -> tuple[Span, Call]:
    """The one span that was recorded, as the SDK would send it."""
    [span] = gateway.telemetry.spans
    made = kept(span, Privacy(gateway.state.config.privacy))
    assert made.call is not None
    return made, made.call


def text_of(ids: Any) -> str:
    return "".join(map(chr, ids))


REQUESTS = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": f"I am {SECRET}!"}]}),
    (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "user", "content": "who?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "ask", "arguments": json.dumps({"of": SECRET})},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": f"found {SECRET}"},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "ask", "description": f"asks {SECRET}", "parameters": {}},
                }
            ],
        },
    ),
    ("/v1/completions", {"prompt": f"I am {SECRET}!"}),
    ("/v1/responses", {"input": f"I am {SECRET}!", "instructions": f"help {SECRET}"}),
    (
        "/v1/messages",
        {
            "max_tokens": 9,
            "system": f"help {SECRET}",
            "messages": [{"role": "user", "content": f"I am {SECRET}!"}],
        },
    ),
]

MORE: dict[str, Any] = {"model": "calc", "metadata": {"note": "nobody"}, "unheard_of": ["nobody"]}


@pytest.mark.parametrize(("path", "fields"), REQUESTS)
def test_a_model_sees_the_redacted_request_and_its_call_is_trained(
    make_gateway: Make, path: str, fields: dict[str, Any]
) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    answer = gateway.post(path, json={"model": "calc", **fields})
    assert answer.status_code == 200, answer.text
    [request] = gateway.engine.requests
    assert SECRET not in text_of(request.prompt_ids)
    assert REDACTED in text_of(request.prompt_ids)
    span, call = only_call(gateway)
    # What is kept is what was sampled from, token for token.
    assert tuple(call.prompt_ids) == request.prompt_ids
    assert call.trainable
    assert SECRET not in repr(span)
    assert REDACTED in span.input


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the texts of a body are."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))


def planted(value: Any, path: tuple[Any, ...]) -> Any:
    """A body with the secret in one of its texts."""
    if not path:
        return f"x {SECRET} y"
    made = copy.copy(value)
    made[path[0]] = planted(value[path[0]], path[1:])
    return made


PLAIN = [
    (path, {**json.loads(json.dumps(fields).replace(SECRET, "nobody")), **MORE})
    for path, fields in REQUESTS
]
PLACES = [(path, body, place) for path, body in PLAIN for place in leaves(body)]


@pytest.mark.parametrize(
    ("path", "body", "place"), PLACES, ids=[f"{p}-{'.'.join(map(str, at))}" for p, _, at in PLACES]
)
def test_no_text_of_a_request_hides_a_secret(
    make_gateway: Make, path: str, body: dict[str, Any], place: tuple[Any, ...]
) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    headers = {"x-headrace-agent": f"for {SECRET}", "x-request-id": f"of {SECRET}"}
    answer = gateway.post(path, json={"model": "calc", **planted(body, place)}, headers=headers)
    assert answer.status_code in (200, 400, 404, 422), answer.text
    assert gateway.telemetry.spans or answer.status_code != 200
    for span in gateway.telemetry.spans:
        made = kept(span, Privacy(REDACTING))
        assert SECRET not in repr(made)
        assert made.call is not None
        assert SECRET not in text_of((*made.call.prompt_ids, *made.call.sampled_ids))


def test_where_the_model_sees_the_original_the_call_is_kept_without_tokens(
    make_gateway: Make,
) -> None:
    settings = PrivacySettings(redact=("email",), model_sees="original")
    gateway = make_gateway(privacy=settings).serve(0)
    answer = gateway.chat(messages=[{"role": "user", "content": f"I am {SECRET}!"}]).json()
    [request] = gateway.engine.requests
    assert SECRET in text_of(request.prompt_ids)
    assert answer["headrace"]["untrainable_reason"] == "redacted"
    span, call = only_call(gateway)
    assert SECRET not in repr(span)
    assert (len(call.prompt_ids), len(call.sampled_ids)) == (0, 0)
    assert (call.trainable, call.untrainable_reason) == (False, "redacted")
    metrics = gateway.get("/metrics").text
    assert (
        'headrace_gateway_calls_total{policy="calc",untrainable_reason="redacted"} 1.0' in metrics
    )


@pytest.mark.parametrize("model_sees", ["redacted", "original"])
def test_a_call_without_anything_to_redact_is_trained(make_gateway: Make, model_sees: Any) -> None:
    settings = PrivacySettings(redact=("all",), model_sees=model_sees)
    gateway = make_gateway(privacy=settings).serve(0)
    gateway.chat()
    assert only_call(gateway)[1].trainable


def test_a_sampled_secret_reaches_the_client_and_is_not_kept(make_gateway: Make) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    gateway.engine.answer = says(f"It is {SECRET}.")
    answer = gateway.chat().json()
    assert answer["choices"][0]["message"]["content"] == f"It is {SECRET}."
    assert answer["headrace"]["trainable"] is False
    span, call = only_call(gateway)
    assert span.output == f"It is {REDACTED}."
    assert (len(call.sampled_ids), call.untrainable_reason) == (0, "redacted")
    assert json.loads(span.attributes)["gen_ai.usage.output_tokens"] == len(f"It is {SECRET}.")


def test_tokens_that_spell_what_the_text_does_not_show_are_not_kept(make_gateway: Make) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    # The text is cut before the stop string; the tokens have it.
    gateway.engine.answer = replace(says(f"It is {SECRET}"), text="It is ", stop="alice")
    gateway.chat(stop=["alice"])
    assert only_call(gateway)[1].untrainable_reason == "redacted"


def test_a_prompt_and_its_answer_that_only_together_spell_it_are_not_kept(
    make_gateway: Make,
) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    gateway.engine.answer = says("@example.com")
    gateway.chat(messages=[{"role": "user", "content": "go on: alice"}])
    assert only_call(gateway)[1].untrainable_reason == "redacted"


def test_a_prompt_of_tokens_is_read_before_it_is_kept(make_gateway: Make) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    ids = [ord(char) for char in f"I am {SECRET}"]
    gateway.post("/v1/completions", json={"model": "calc", "prompt": ids})
    span, call = only_call(gateway)
    assert call.untrainable_reason == "redacted"
    assert json.loads(span.input) == f"{len(ids)} tokens"


def test_a_conversation_goes_on_though_an_answer_held_something(make_gateway: Make) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    asked = [{"role": "user", "content": "who is it?"}]
    gateway.engine.answer = says(SECRET)
    said = gateway.chat(messages=asked).json()["choices"][0]["message"]
    gateway.engine.answer = says("Yes.")
    gateway.chat(messages=[*asked, said, {"role": "user", "content": "sure?"}])
    first, second = gateway.telemetry.spans
    assert first.rollout_id == second.rollout_id
    assert second.call is not None
    assert second.call.trainable
    assert text_of(second.call.prompt_ids) == f"who is it?{REDACTED}sure?"


def test_an_answer_that_is_remembered_is_redacted_when_it_is_gone_on_from(
    make_gateway: Make,
) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    gateway.engine.answer = says(f"It is {SECRET}.")
    path = "/v1/responses"
    first = gateway.post(path, json={"model": "calc", "input": "who is it?"}).json()
    assert SECRET in json.dumps(gateway.get(f"{path}/{first['id']}").json())
    gateway.engine.answer = says("Yes.")
    asked = {"model": "calc", "input": "sure?", "previous_response_id": first["id"]}
    assert gateway.post(path, json=asked).status_code == 200
    second = gateway.telemetry.spans[1].call
    assert second is not None
    assert text_of(second.prompt_ids) == f"who is it?It is {REDACTED}.sure?"
    assert second.trainable


def test_prompts_still_go_on_from_the_sampled_tokens(make_gateway: Make) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    asked = [{"role": "user", "content": f"I am {SECRET}"}]
    gateway.engine.answer = says("Hello.")
    said = gateway.chat(messages=asked).json()["choices"][0]["message"]
    gateway.chat(messages=[*asked, said, {"role": "user", "content": "again"}])
    assert json.loads(gateway.telemetry.spans[1].attributes)["headrace.prompt"] == "extended"


@pytest.mark.parametrize("mode", ["metadata", "none"])
def test_without_content_a_call_is_not_trained_and_says_so(make_gateway: Make, mode: Any) -> None:
    gateway = make_gateway(privacy=PrivacySettings(capture=mode)).serve(0)
    answer = gateway.chat().json()
    assert answer["headrace"]["untrainable_reason"] == "not_captured"
    assert answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("hide", "input_is", "output_is"),
    [("inputs", False, True), ("outputs", True, False), ("content", False, False)],
)
def test_a_client_hides_its_own_calls(
    make_gateway: Make, hide: str, input_is: bool, output_is: bool
) -> None:
    gateway = make_gateway().serve(0)
    answer = gateway.post(
        json={"model": "calc", "messages": [{"role": "user", "content": "1+2"}]},
        headers={"x-headrace-hide": hide},
    ).json()
    assert answer["headrace"]["untrainable_reason"] == "not_captured"
    span, call = only_call(gateway)
    assert (bool(span.input), bool(span.output)) == (input_is, output_is)
    assert (len(call.prompt_ids), len(call.sampled_ids)) == (0, 0)
    assert json.loads(span.attributes)["gen_ai.usage.input_tokens"] == 3


def test_hidden_tools_are_in_the_prompt_so_its_tokens_are_not_kept(make_gateway: Make) -> None:
    gateway = make_gateway().serve(0)
    tool = {"type": "function", "function": {"name": "ask", "parameters": {}}}
    for tools in ([], [tool]):
        gateway.post(
            json={
                "model": "calc",
                "messages": [{"role": "user", "content": "1+2"}],
                **({"tools": tools} if tools else {}),
            },
            headers={"x-headrace-hide": "tools"},
        )
    without, with_tools = (span.call for span in gateway.telemetry.spans)
    assert without is not None
    assert without.trainable
    assert with_tools is not None
    assert with_tools.untrainable_reason == "not_captured"


def test_a_failed_call_keeps_no_secret(make_gateway: Make) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    gateway.engine.late_error = GenerationFailed(f"at {SECRET}")
    gateway.engine.pieces = (f"It is {SECRET}", "!")
    gateway.post(json={**BODY, "stream": True})
    [span] = gateway.telemetry.spans
    assert (span.status, span.output) == ("error", f"It is {SECRET}!")
    assert SECRET not in repr(kept(span, Privacy(REDACTING)))


BODY = {"model": "calc", "messages": [{"role": "user", "content": f"I am {SECRET}"}]}


@pytest.mark.parametrize(("model_sees", "seen"), [("redacted", REDACTED), ("original", SECRET)])
def test_an_upstream_sees_what_a_model_of_ours_would(
    make_gateway: Make, model_sees: Any, seen: str
) -> None:
    behind = make_gateway(policy=PolicySettings(name="gpt")).serve(0)
    behind.engine.answer = says(f"It is {SECRET}.")
    settings = PrivacySettings(redact=("all",), model_sees=model_sees)
    with behind.listening() as address:
        upstream = Upstream(UpstreamConfig(url=f"{address}/v1/"))
        gateway = make_gateway(forwarded=Forwarded(upstream), privacy=settings).serve(0)
        answer = gateway.post(json={**BODY, "model": "gpt"}).json()
        gateway.run(upstream.close())
    assert text_of(behind.engine.requests[0].prompt_ids) == f"I am {seen}"
    assert answer["choices"][0]["message"]["content"] == f"It is {SECRET}."
    span, call = only_call(gateway)
    assert SECRET not in repr(span)
    assert (span.output, call.untrainable_reason) == (f"It is {REDACTED}.", "no_tokens")


def test_what_is_counted_is_what_the_model_would_see(make_gateway: Make) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    counted = gateway.post("/v1/messages/count_tokens", json=BODY).json()
    assert counted["input_tokens"] == len(f"I am {REDACTED}")


def test_a_large_body_is_redacted_too(make_gateway: Make) -> None:
    gateway = make_gateway(privacy=REDACTING).serve(0)
    gateway.chat(messages=[{"role": "user", "content": "x" * 30_000 + f" {SECRET}"}])
    assert text_of(gateway.engine.requests[0].prompt_ids).endswith(REDACTED)


def test_the_settings_reach_the_process() -> None:
    made = config_from_environment(
        {"HEADRACE_PRIVACY_REDACT": "email", "HEADRACE_PRIVACY_MODEL_SEES": "original"},
        ["--model-directory", "m"],
    )
    assert isinstance(made, GatewayConfig)
    assert made.privacy == PrivacySettings(redact=("email",), model_sees="original")
