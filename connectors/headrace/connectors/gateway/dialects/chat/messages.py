"""Messages of the Chat Completions API. Pure."""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.gateway.conversation import Message, ToolCall
from headrace.connectors.gateway.conversation.messages import ROLES
from headrace.connectors.gateway.dialects.fields import objects, text, unsupported
from headrace.connectors.gateway.errors import BadRequest

# Of an assistant's earlier answer, as clients send it back.
_EMPTY: tuple[Any, ...] = (None, [], {}, "")
_UNREAD = ("audio",)


def read_message(message: Any, where: str) -> Message:
    """One message; raises BadRequest naming `where`."""
    if not isinstance(message, dict):
        raise BadRequest(f"{where} must be an object", param=where)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequest(f"{where}.role must be one of {', '.join(ROLES)}", param=f"{where}.role")
    for name in _UNREAD:
        if message.get(name) not in _EMPTY:
            raise unsupported(f"{where}.{name}")
    calls = _calls(message, f"{where}.") if role == "assistant" else ()
    return Message(
        role=ROLES[role],
        content=_content(message, where, may_be_null=role in ("assistant", "tool", "function")),
        tool_calls=calls,
        tool_call_id=text(message, "tool_call_id", f"{where}.", default=""),
        name=text(message, "name", f"{where}.", default=""),
    )


def _calls(message: Mapping[str, Any], where: str) -> tuple[ToolCall, ...]:
    calls = []
    for i, call in enumerate(objects(message, "tool_calls", where)):
        place = f"{where}tool_calls[{i}]."
        if call.get("type", "function") != "function":
            raise unsupported(f"{place}type", "other than function")
        function = call.get("function")
        if not isinstance(function, dict):
            raise BadRequest(f"{place}function must be an object", param=f"{place}function")
        calls.append(
            ToolCall(
                id=text(call, "id", place, default=""),
                name=text(function, "name", f"{place}function."),
                arguments=text(function, "arguments", f"{place}function.", default="{}"),
            )
        )
    function = message.get("function_call")
    if isinstance(function, dict):  # the API before tools
        place = f"{where}function_call."
        name = text(function, "name", place)
        calls.append(
            ToolCall(id=name, name=name, arguments=text(function, "arguments", place, default="{}"))
        )
    return tuple(calls)


def _content(message: Mapping[str, Any], where: str, *, may_be_null: bool) -> str:
    content, where = message.get("content"), f"{where}.content"
    if content is None and may_be_null:
        refusal = message.get("refusal")
        return refusal if isinstance(refusal, str) else ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequest(f"{where} must be a string or a list of text parts", param=where)
    return "".join(_part(part, f"{where}[{i}]") for i, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "refusal":
        return text(part, "refusal", f"{where}.")
    if kind != "text":
        raise BadRequest(f"{where} must be a text part: this engine reads text only", param=where)
    return text(part, "text", f"{where}.")
