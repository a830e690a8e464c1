"""What a request may hold: honoured, harmless, or refused with its name."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.engines import Constraint
from headrace.connectors.gateway.conversation import Ask, Message, Tool, ToolCall, ToolChoice
from headrace.connectors.gateway.dialects.chat.read import read
from headrace.connectors.gateway.errors import BadRequest

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

HELLO = [{"role": "user", "content": "hello"}]


def parse(**fields: Any) -> Ask:
    return read(
        {"model": "calc", "messages": HELLO, **fields}, max_messages=10, default_max_tokens=77
    )


def test_defaults_are_openai_s() -> None:
    sampling = parse().sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (1.0, 1.0, 0)
    assert (sampling.seed, sampling.stop, sampling.max_tokens) == (None, (), 77)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": None}, 77),
    ],
)
def test_both_names_of_the_token_limit_are_known(fields: dict[str, Any], expected: int) -> None:
    assert parse(**fields).sampling.max_tokens == expected


@pytest.mark.parametrize(("given", "expected"), [("x", ("x",)), (["x", "y"], ("x", "y")), ([], ())])
def test_stop_is_a_string_or_a_list(given: Any, expected: tuple[str, ...]) -> None:
    assert parse(stop=given).sampling.stop == expected


def test_text_parts_are_joined_and_developers_are_systems() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [
        {"role": "developer", "content": parts},
        {"role": "user", "content": "c", "name": "Ann"},
        {"role": "assistant", "content": "d", "refusal": None, "tool_calls": []},
    ]
    assert parse(messages=messages).messages == (
        Message(role="system", content="ab"),
        Message(role="user", content="c", name="Ann"),
        Message(role="assistant", content="d"),
    )


def test_tools_their_calls_and_results_are_read() -> None:
    function = {"name": "add", "description": "Add.", "parameters": {"type": "object"}}
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
    ]
    tools = [{"type": "function", "function": function}]
    ask = parse(messages=messages, tools=tools, tool_choice="required", parallel_tool_calls=False)
    assert ask.tools == (Tool(name="add", description="Add.", parameters={"type": "object"}),)
    assert ask.tool_choice == ToolChoice(mode="required", parallel=False)
    assert ask.messages[1].tool_calls == (ToolCall(id="c1", name="add", arguments="{}"),)
    assert ask.messages[2] == Message(role="tool", tool_call_id="c1", content="5")
    named = parse(tools=tools, tool_choice={"type": "function", "function": {"name": "add"}})
    assert named.tool_choice == ToolChoice(mode="required", name="add")


def test_functions_of_the_older_api_are_tools() -> None:
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "5"},
    ]
    ask = parse(messages=messages, functions=[{"name": "f"}], function_call={"name": "f"})
    assert [tool.name for tool in ask.tools] == ["f"]
    assert ask.tool_choice == ToolChoice(mode="required", name="f")
    assert ask.messages[2].role == "tool"


def test_penalties_biases_and_min_p_reach_the_engine_and_are_off_support(
    gateway: "Harness",
) -> None:
    given: dict[str, Any] = {"frequency_penalty": 0.5, "presence_penalty": -2, "min_p": 0.1}
    assert gateway.chat(**given, logit_bias={"44": -100, "2": 1.5}).status_code == 200
    [request] = gateway.engine.requests
    for name, value in given.items():
        assert getattr(request.sampling, name) == value
    assert request.sampling.logit_bias == ((44, -100.0), (2, 1.5))
    [span] = gateway.telemetry.spans
    assert span.call is not None
    assert span.call.untrainable_reason == "off_support"


def test_what_nobody_knows_is_noted() -> None:
    assert parse(colour="red", thinking=None).noted == ("colour",)


def test_an_answer_may_have_to_be_json() -> None:
    schema = {"type": "integer"}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert parse(response_format=form).constraint == Constraint(
        kind="json_schema", source='{"type": "integer"}'
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "flex"},
        {"n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}},
        {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}},
        {"stream": False, "stream_options": None, "top_logprobs": 0, "tools": None},
    ],
)
def test_what_changes_nothing_is_accepted(fields: dict[str, Any]) -> None:
    assert parse(**fields).sampling == parse().sampling


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": ["f"]}, "functions[0]"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": {"one": 1}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"repetition_penalty": 1.2}, "repetition_penalty"),
        ({"min_p": 1.1}, "min_p"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 0.001}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"stop": 7}, "stop"),
        ({"stop": ["x", 7]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"logprobs": 1}, "logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": HELLO * 11}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
         "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "content": "x", "tool_calls": [{}]}]},
         "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "user", "content": "x", "name": 7}]}, "messages[0].name"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(**fields)
    assert refused.value.param == param
    assert param.partition("[")[0] in refused.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FIELDS = ("messages", "temperature", "top_p", "top_k", "max_tokens", "seed", "stop", "n", "tools")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_json_brings_another_error_than_a_refusal(fields: dict[str, Any]) -> None:
    with suppress(BadRequest):
        parse(**fields)


def test_a_refusal_reaches_the_client_in_openai_s_format(gateway: "Harness") -> None:
    answer = gateway.chat(repetition_penalty=1.2)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "message": "repetition_penalty is not supported by this server: leave it out",
            "type": "invalid_request_error",
            "param": "repetition_penalty",
            "code": "unsupported",
        }
    }
    assert gateway.engine.requests == []
    assert gateway.telemetry.spans == []


def test_messages_that_the_template_refuses_are_a_bad_request(gateway: "Harness") -> None:
    answer = gateway.chat(messages=[{"role": "user", "content": "unrenderable"}])
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"model": NaN}',
        b"\xff\xfe",
        b'{"model": "calc", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b"[" * 100_000,
        b'{"model": "calc"}',
        b'{"model": 7, "messages": []}',
        b'{"messages": []}',
        b'{"model": "calc", "messages": [], "seed": 1' + b"0" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_request_is_a_bad_request(gateway: "Harness", content: bytes) -> None:
    answer = gateway.post(content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_must_be_declared_as_json(gateway: "Harness") -> None:
    answer = gateway.post(content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert "Content-Type" in answer.json()["error"]["message"]


def test_other_urls_are_not_found_in_openai_s_format(gateway: "Harness") -> None:
    for answer in (gateway.post("/chat/completions", json={}), gateway.get("/v1/audio")):
        assert answer.status_code == 404
        assert "/v1" in answer.json()["error"]["message"]
    assert gateway.get("/v1/chat/completions").status_code == 405


def test_a_bug_is_a_500_in_openai_s_format(gateway: "Harness") -> None:
    gateway.engine.error = ZeroDivisionError("a bug")
    answer = gateway.chat()
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "a bug" not in answer.text
