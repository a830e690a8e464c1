"""What a request of the Responses API may hold."""

from typing import Any

import pytest

from headrace.connectors.gateway.conversation import Message, Tool, ToolCall, ToolChoice
from headrace.connectors.gateway.dialects.responses.read import (
    ResponsesRequest,
    previous_of,
    read,
)
from headrace.connectors.gateway.errors import BadRequest

ADD = {
    "type": "function",
    "name": "add",
    "description": "Adds.",
    "parameters": {"type": "object"},
    "strict": True,
}


def parse(**fields: Any) -> ResponsesRequest:
    return read({"model": "calc", "input": "1+2", **fields}, max_messages=5, default_max_tokens=77)


def refusal(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as raised:
        parse(**fields)
    return raised.value


def test_text_is_a_message_of_the_user() -> None:
    request = parse(instructions="Be brief.")
    assert request.ask.messages == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="1+2"),
    )
    assert request.store
    assert request.ask.sampling.max_tokens == 77
    assert request.ask.logprobs is None


def test_items_become_a_conversation() -> None:
    items = [
        {"role": "developer", "content": "Use tools."},
        {"role": "user", "content": [{"type": "input_text", "text": "1+2, now"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I add.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "noon"}],
        },
    ]
    request = read({"model": "calc", "input": items}, max_messages=8, default_max_tokens=9)
    assert request.ask.messages == (
        Message(role="system", content="Use tools."),
        Message(role="user", content="1+2, now"),
        Message(
            role="assistant",
            content="I add.",
            tool_calls=(
                ToolCall(id="c1", name="add", arguments='{"a": 1}'),
                ToolCall(id="c2", name="now", arguments="{}"),
            ),
        ),
        Message(role="tool", content="3", tool_call_id="c1", name="add"),
        Message(role="tool", content="noon", tool_call_id="c2", name="now"),
    )


def test_items_of_one_answer_are_one_message() -> None:
    def said(text: str, identity: str) -> dict[str, Any]:
        return {"type": "message", "role": "assistant", "content": text, "id": identity}

    call = {"type": "function_call", "call_id": "c1", "name": "now", "arguments": "{}"}
    items = [
        said("It is", "msg_1_0"),
        {**call, "id": "fc_1_1"},
        said(" noon.", "msg_1_2"),
        said("Another.", "msg_2_0"),
        said("And one", ""),
        said("more.", ""),
    ]
    request = read({"model": "calc", "input": items}, max_messages=8, default_max_tokens=9)
    assert [message.content for message in request.ask.messages] == [
        "It is noon.",
        "Another.",
        "And one",
        "more.",
    ]
    assert [len(message.tool_calls) for message in request.ask.messages] == [1, 0, 0, 0]


def test_a_conversation_goes_on_from_an_earlier_answer() -> None:
    earlier = (
        {"type": "message", "role": "user", "content": "1+2"},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
    )
    own = [{"type": "function_call_output", "call_id": "c1", "output": "3"}]
    request = read(
        {"model": "calc", "input": own, "previous_response_id": "resp_1"},
        earlier=earlier,
        max_messages=5,
        default_max_tokens=9,
    )
    assert [message.role for message in request.ask.messages] == ["user", "assistant", "tool"]
    assert request.conversation == (*earlier, *own)
    assert request.items == tuple(own)
    assert request.repeated["previous_response_id"] == "resp_1"


def test_a_reference_stands_for_the_item_it_names() -> None:
    known = {"id": "msg_1_0", "type": "message", "role": "assistant", "content": "3"}
    items = [{"type": "item_reference", "id": "msg_1_0"}, {"role": "user", "content": "sure?"}]
    request = read(
        {"model": "calc", "input": items},
        recall={"msg_1_0": known}.get,
        max_messages=5,
        default_max_tokens=9,
    )
    assert request.ask.messages[0] == Message(role="assistant", content="3")
    assert refusal(input=items).param == "input[0].id"


def test_functions_can_be_called() -> None:
    request = parse(tools=[ADD], tool_choice="required", parallel_tool_calls=False)
    assert request.ask.tools == (
        Tool(name="add", description="Adds.", parameters={"type": "object"}, strict=True),
    )
    assert request.ask.tool_choice == ToolChoice(mode="required", parallel=False)


def test_a_function_can_be_chosen_and_others_left_out() -> None:
    named = parse(tools=[ADD], tool_choice={"type": "function", "name": "add"})
    assert named.ask.tool_choice == ToolChoice(mode="required", name="add")
    tools = [ADD, {**ADD, "name": "sub"}]
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"name": "sub"}]}
    some = parse(tools=tools, tool_choice=allowed)
    assert [tool.name for tool in some.ask.tools] == ["sub"]
    assert some.ask.tool_choice == ToolChoice()


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json_object"),
        ({"type": "json_schema", "name": "n", "schema": {"type": "integer"}}, "json_schema"),
    ],
)
def test_a_form_of_the_text_is_a_constraint(form: dict[str, Any], kind: str | None) -> None:
    constraint = parse(text={"format": form}).ask.constraint
    assert (constraint.kind if constraint else None) == kind


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"include": ["reasoning.encrypted_content"]}, None),
        ({"include": ["message.output_text.logprobs"]}, 0),
        ({"top_logprobs": 3}, 3),
    ],
)
def test_log_probabilities_are_told_if_asked(fields: dict[str, Any], expected: int | None) -> None:
    assert parse(**fields).ask.logprobs == expected


def test_fields_that_change_nothing_are_accepted_and_unknown_ones_noted() -> None:
    request = parse(
        user="u",
        service_tier="auto",
        truncation="auto",
        background=False,
        reasoning={"effort": None, "summary": "auto"},
        text={"verbosity": "medium"},
        store=False,
        brand_new=1,
        conversation=None,
    )
    assert request.ask.noted == ("brand_new",)
    assert not request.store
    assert request.repeated["truncation"] == "auto"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": "add"}, "tools"),
        ({"tools": [ADD], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"truncation": "some"}, "truncation"),
        ({"include": "all"}, "include"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"role": "user", "content": "x"}] * 6}, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"input": [{"type": ["message"]}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].type",
        ),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 10**400}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"store": "yes"}, "store"),
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"model": ""}, "model"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    if "previous_response_id" in fields:
        with pytest.raises(BadRequest) as raised:
            previous_of(fields)
        assert raised.value.param == param
    else:
        assert refusal(**fields).param == param
