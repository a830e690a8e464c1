"""What a request of the Messages API may hold."""

from typing import Any

import pytest

from headrace.connectors.gateway.conversation import Ask, Message, Tool, ToolCall, ToolChoice
from headrace.connectors.gateway.dialects.messages.read import read, read_count
from headrace.connectors.gateway.errors import BadRequest

HELLO = [{"role": "user", "content": "hello"}]
ADD = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "calc", "max_tokens": 9, "messages": HELLO, **fields}


def parse(**fields: Any) -> Ask:
    return read(body(**fields), max_messages=6)


def refusal(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as raised:
        parse(**fields)
    return raised.value


def test_the_system_prompt_comes_first() -> None:
    expected = (Message(role="system", content="Be brief."), Message(role="user", content="hello"))
    assert parse(system="Be brief.").messages == expected
    blocks = [
        {"type": "text", "text": "Be ", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "brief."},
    ]
    assert parse(system=blocks).messages == expected


def test_turns_become_messages() -> None:
    messages = [
        {"role": "user", "content": "1+2, now"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I add."},
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
                {"type": "tool_use", "id": "t2", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "3"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "is_error": True,
                    "content": [{"type": "text", "text": "no clock"}],
                },
                {"type": "text", "text": "Go on."},
            ],
        },
    ]
    assert parse(messages=messages).messages == (
        Message(role="user", content="1+2, now"),
        Message(
            role="assistant",
            content="I add.",
            tool_calls=(
                ToolCall(id="t1", name="add", arguments='{"a": 1}'),
                ToolCall(id="t2", name="now", arguments="{}"),
            ),
        ),
        Message(role="tool", content="3", tool_call_id="t1", name="add"),
        Message(role="tool", content="no clock", tool_call_id="t2", name="now"),
        Message(role="user", content="Go on."),
    )


def test_sampling_is_read() -> None:
    ask = parse(temperature=0.5, top_p=0.9, top_k=4, stop_sequences=["END"], stream=True)
    sampling = ask.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 4)
    assert (sampling.max_tokens, sampling.stop) == (9, ("END",))
    assert ask.streams


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ({"type": "auto"}, ToolChoice()),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(parallel=False)),
        ({"type": "any"}, ToolChoice(mode="required")),
        ({"type": "none"}, ToolChoice(mode="none")),
        ({"type": "tool", "name": "add"}, ToolChoice(mode="required", name="add")),
    ],
)
def test_tools_are_read(choice: dict[str, Any] | None, expected: ToolChoice) -> None:
    ask = parse(tools=[ADD], tool_choice=choice)
    assert ask.tools == (Tool(name="add", description="Adds.", parameters={"type": "object"}),)
    assert ask.tool_choice == expected


def test_a_form_of_the_answer_is_a_constraint() -> None:
    form = {"type": "json_schema", "schema": {"type": "integer"}}
    constraint = parse(output_config={"effort": "low", "format": form}).constraint
    assert constraint is not None
    assert (constraint.kind, constraint.source) == ("json_schema", '{"type": "integer"}')


def test_fields_that_change_nothing_are_accepted_and_unknown_ones_noted() -> None:
    ask = parse(
        metadata={"user_id": "u"},
        service_tier="auto",
        thinking={"type": "disabled"},
        context_management={"edits": []},
        tools=[{**ADD, "type": "custom", "cache_control": {}, "input_examples": []}],
        brand_new=1,
        container=None,
    )
    assert ask.noted == ("brand_new", "tools.input_examples")


def test_counting_needs_no_limit() -> None:
    wanted = body()
    del wanted["max_tokens"]
    assert read_count(wanted, max_messages=6).messages == parse().messages
    with pytest.raises(BadRequest, match="max_tokens: this field is required"):
        read(wanted, max_messages=6)


IMAGE = {"type": "image", "source": {"type": "url", "url": "http://x"}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0].type"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}
                        ],
                    }
                ]
            },
            "messages[0].content[0].content[0].type",
        ),
        ({"messages": []}, "messages"),
        ({"messages": HELLO * 7}, "messages"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t"}] * 7,
                    }
                ]
            },
            "messages",
        ),
        ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, "messages[1]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "add"}]}, "tools[0].input_schema"),
        ({"tools": [{**ADD, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [ADD], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": {"type": ["any"]}}, "tool_choice.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_p": 0}, "top_p"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param
