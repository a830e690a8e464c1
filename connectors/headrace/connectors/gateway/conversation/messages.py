"""Messages and tools."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""Roles as the APIs name them."""


@dataclass(kw_only=True, slots=True, frozen=True)
class ToolCall:
    """A call of a tool by the model.

    Example:
        ToolCall(id="call_0", name="add", arguments='{"a": 2, "b": 3}')
    """

    id: str
    name: str
    arguments: str
    """JSON, as the model or the client wrote it."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Message:
    """One message. Text only: a dialect refuses by name what the engine cannot read."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """What an assistant's message calls, in order; its content may be empty then."""
    tool_call_id: str = ""
    """Of which call a tool's message is the result."""
    name: str = ""
    """Who speaks, or which tool answers."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON schema of its arguments."""
    strict: bool = False
    """Whether its arguments must follow the schema."""


@dataclass(kw_only=True, slots=True, frozen=True)
class ToolChoice:
    """Whether the model may, must or must not call a tool."""

    mode: Literal["auto", "none", "required"] = "auto"
    name: str = ""
    """The tool it must call, with `required`; empty: any."""
    parallel: bool = True
    """Whether it may call several at once."""


def template_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as chat templates read them.

    Arguments become the object that they are; those that are no JSON object stay text.
    """
    return [_template_message(message) for message in messages]


def template_tools(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Tools as chat templates read them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            },
        }
        for tool in tools
    ]


def _template_message(message: Message) -> dict[str, Any]:
    read: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name:
        read["name"] = message.name
    if message.tool_call_id:
        read["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        read["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return read


def _arguments(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text
