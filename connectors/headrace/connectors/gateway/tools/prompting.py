"""Tools, calls and results as plain messages, for models whose template knows none. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from headrace.connectors.gateway.conversation import Message, Tool, ToolCall
from headrace.connectors.gateway.tools.bodies import RawCall, write_call
from headrace.connectors.gateway.tools.formats import ToolFormat

_SIMPLE = frozenset({"string", "integer", "number", "boolean"})
_SHOWN = {"string": "text", "integer": 1, "number": 1.5, "boolean": True}


def prompted(
    messages: Sequence[Message], tools: Sequence[Tool], form: ToolFormat
) -> tuple[Message, ...]:
    """A conversation in which tools, their calls and results are text of plain messages."""
    plain = [_plain(message, form) for message in messages]
    if not tools:
        return tuple(plain)
    told = describe(tools, form)
    if plain and plain[0].role == "system":
        first = replace(plain[0], content=f"{plain[0].content}\n\n{told}".strip())
        return (first, *plain[1:])
    return (Message(role="system", content=told), *plain)


def describe(tools: Sequence[Tool], form: ToolFormat) -> str:
    """What the prompt says of the model's tools."""
    lines = ["You can call these tools:", *map(_describe, tools)]
    first = tools[0]
    example = RawCall(name=first.name, arguments=json.dumps(_example(first.parameters)))
    called = f"{form.opening}{write_call(example, form)}{form.closing}"
    return "\n".join([*lines, f"To call a tool, answer with {called}"])


def _plain(message: Message, form: ToolFormat) -> Message:
    if message.role == "tool":
        return Message(role="user", content=f"<result>{message.content}</result>")
    if not message.tool_calls:
        return message
    calls = [_written(call, form) for call in message.tool_calls]
    return Message(role="assistant", content="\n".join(filter(None, [message.content, *calls])))


def _written(call: ToolCall, form: ToolFormat) -> str:
    raw = RawCall(name=call.name, arguments=call.arguments or "{}")
    return f"{form.opening}{write_call(raw, form)}{form.closing}"


def _describe(tool: Tool) -> str:
    properties = tool.parameters.get("properties", {})
    about = f": {tool.description}" if tool.description else ""
    if isinstance(properties, Mapping) and all(map(_is_simple, properties.values())):
        named = ", ".join(f"{name}: {kind['type']}" for name, kind in properties.items())
        return f"- {tool.name}({named}){about}"
    schema = json.dumps(tool.parameters, ensure_ascii=False)
    return f"- {tool.name}{about} Arguments, as JSON schema: {schema}"


def _is_simple(schema: Any) -> bool:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    return isinstance(kind, str) and kind in _SIMPLE and "enum" not in schema


def _example(parameters: Mapping[str, Any]) -> dict[str, Any]:
    properties = parameters.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {
        str(name): _SHOWN.get(str(schema.get("type")), "…") if isinstance(schema, Mapping) else "…"
        for name, schema in properties.items()
    }
