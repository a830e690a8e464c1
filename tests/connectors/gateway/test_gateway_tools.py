"""How calls of tools are written and enforced, and what it does to training."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from headrace.connectors.engines import GenerationFailed, Increment, InvalidRequest, PromptTooLong
from headrace.connectors.engines.policy import PolicySettings
from tests.connectors.gateway.prompts.templates import QWEN

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

CHAT = "/v1/chat/completions"
IN_ROLLOUT = "/rollout/r/attempt/a" + CHAT
PYTHONIC = "{{ tools }}<|python_start|>"


def tool(name: str = "add", *, strict: bool = False) -> dict[str, Any]:
    function = {"name": name, "parameters": {"type": "object"}, "strict": strict}
    return {"type": "function", "function": function}


def why(gateway: "Harness") -> str:
    call = gateway.telemetry.spans[-1].call
    assert call is not None
    return call.untrainable_reason


def test_a_call_that_has_to_be_made_has_a_grammar_in_every_format(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(chat_template=PYTHONIC).serve(0)
    assert gateway.chat(tools=[tool()], tool_choice="required").status_code == 200
    assert why(gateway) == "off_support"
    answer = gateway.chat(tools=[tool("get-sum")], tool_choice="required")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tool_choice"
    assert "Python" in answer.json()["error"]["message"]
    assert len(gateway.engine.requests) == 1
    assert gateway.chat(tools=[tool("get-sum")]).status_code == 200


@pytest.mark.parametrize(
    ("whose", "path", "enforced"),
    [
        ("traffic", CHAT, True),
        ("traffic", IN_ROLLOUT, False),
        ("always", IN_ROLLOUT, True),
        ("never", CHAT, False),
    ],
)
def test_strict_tools_are_enforced_for_traffic_and_left_trainable_in_rollouts(
    make_gateway: "Callable[..., Harness]", whose: str, path: str, enforced: bool
) -> None:
    gateway = make_gateway(strict_tools=whose).serve(0)
    assert gateway.chat(path, tools=[tool(strict=True)]).status_code == 200
    assert (gateway.engine.requests[-1].constraint is not None) is enforced
    assert why(gateway) == ("off_support" if enforced else "")
    assert gateway.chat(path, tools=[tool()]).status_code == 200
    assert why(gateway) == ""


def test_the_responses_api_s_tools_are_enforced_as_well(gateway: "Harness") -> None:
    strict = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}
    asked = {"model": "calc", "input": "1+2", "tools": [strict]}
    assert gateway.post("/v1/responses", json=asked).status_code == 200
    assert gateway.engine.requests[-1].constraint is not None


def refusing(gateway: "Harness", error: Exception, *, late: bool = False) -> None:
    """An engine that does not take constraints."""
    take = gateway.engine.generate

    async def generate(request: Any, on_increment: Any = None) -> Any:
        if request.constraint is None:
            return await take(request, on_increment)
        if late:
            on_increment(Increment(token_ids=(1,), logprobs=(-1.0,), versions=(0,), text="x"))
        raise error

    gateway.engine.generate = generate  # type: ignore[method-assign]


def test_a_strict_schema_that_no_grammar_is_made_of_is_a_wish_and_says_so(
    gateway: "Harness",
) -> None:
    refusing(gateway, InvalidRequest("the lark cannot be used: no such keyword"))
    assert gateway.chat(tools=[tool(strict=True)]).status_code == 200
    told = json.loads(gateway.telemetry.spans[-1].attributes)["headrace.strict_tools"]
    assert told == "not enforced: the lark cannot be used: no such keyword"
    assert why(gateway) == ""
    assert gateway.chat(tools=[tool()], tool_choice="required").status_code == 400


@pytest.mark.parametrize(
    ("error", "status"), [(PromptTooLong("too long"), 400), (GenerationFailed("no memory"), 502)]
)
def test_what_else_goes_wrong_with_a_strict_tool_is_not_tried_again(
    gateway: "Harness", error: Exception, status: int
) -> None:
    refusing(gateway, error)
    assert gateway.chat(tools=[tool(strict=True)]).status_code == status


def test_an_answer_that_has_begun_is_not_begun_again(gateway: "Harness") -> None:
    refusing(gateway, InvalidRequest("the constraint was lost"), late=True)
    answer = gateway.chat(tools=[tool(strict=True)], stream=True)
    assert "the constraint was lost" in answer.text
    assert gateway.engine.requests == []


def test_an_answer_by_a_schema_leaves_calls_of_tools_possible(gateway: "Harness") -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}
    gateway.chat(IN_ROLLOUT, tools=[tool()], response_format=form)
    made = gateway.engine.requests[-1].constraint
    assert made is not None
    assert (made.kind, "calls | answer" in made.source) == ("lark", True)
    gateway.chat(IN_ROLLOUT, tools=[tool()], tool_choice="none", response_format=form)
    made = gateway.engine.requests[-1].constraint
    assert made is not None
    assert made.kind == "json_schema"


@pytest.mark.parametrize(
    ("name", "template", "written"),
    [
        ("auto", "", "<call>"),
        ("auto", QWEN, "<tool_call>"),
        ("headrace", QWEN, "<call>"),
        ("pythonic", "", "<|python_start|>"),
    ],
)
def test_the_format_is_the_template_s_unless_a_setting_names_it(
    make_gateway: "Callable[..., Harness]", name: str, template: str, written: str
) -> None:
    policy = PolicySettings(name="calc", tool_format=name)
    gateway = make_gateway(policy=policy, chat_template=template).serve(0)
    gateway.chat(tools=[tool()], tool_choice="required")
    [request] = gateway.engine.requests
    assert request.constraint is not None
    assert written in request.constraint.source
    told = "".join(map(chr, request.prompt_ids))
    # A template that knows tools is given them; any other is told of them in words.
    assert ("To call a tool" in told) is (name == "headrace" or not template)


@pytest.mark.parametrize(
    ("context", "settings", "fields", "most"),
    [
        (2048, {}, {}, 512),
        (400, {}, {}, 256),
        (200, {}, {}, 197),
        (32_768, {}, {}, 4096),
        (32_768, {"default_max_tokens": 9}, {}, 9),
        (2048, {}, {"max_tokens": 2000}, 2000),
        (2048, {}, {"max_completion_tokens": 7}, 7),
    ],
)
def test_a_request_that_says_no_bound_gets_a_share_of_the_context(
    make_gateway: "Callable[..., Harness]",
    context: int,
    settings: dict[str, Any],
    fields: dict[str, Any],
    most: int,
) -> None:
    gateway = make_gateway(**settings).serve(0)
    gateway.engine.max_sequence = context
    assert gateway.chat(**fields).status_code == 200  # its prompt has 3 tokens
    assert gateway.engine.requests[-1].sampling.max_tokens == most


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/completions"])
def test_so_do_those_of_the_other_apis(gateway: "Harness", path: str) -> None:
    said = {"/v1/responses": {"input": "1+2"}, "/v1/completions": {"prompt": "1+2"}}[path]
    field = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    for fields, most in (({}, 512), ({field: 2000}, 2000)):
        gateway.post(path, json={"model": "calc", **said, **fields})
        assert gateway.engine.requests[-1].sampling.max_tokens == most
