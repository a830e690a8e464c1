"""Items of the Responses API as messages. Pure.

An item is a message, a call of a function, its output, or reasoning; clients send back the items
that they got.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from headrace.connectors.gateway.conversation import Message, ToolCall
from headrace.connectors.gateway.conversation.messages import Role
from headrace.connectors.gateway.dialects.fields import text, unsupported
from headrace.connectors.gateway.dialects.responses.write import response_of_item
from headrace.connectors.gateway.errors import BadRequest

Item = Mapping[str, Any]
Recall = Callable[[str], Item | None]
"""An item that was answered before, by its id."""

_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
"""By type of a part: the field that holds its text."""


def read_items(given: Any, recall: Recall) -> tuple[Item, ...]:
    """The items of `input`, each with its type; a reference is replaced by what it names.

    Raises:
        BadRequest: it is no text and no list of objects, or a reference names nothing.
    """
    if isinstance(given, str):
        part = {"type": "input_text", "text": given}
        return ({"type": "message", "role": "user", "content": [part]},)
    if not isinstance(given, list):
        raise BadRequest("input must be a string or a list of items", param="input")
    return tuple(_typed(item, f"input[{i}]", recall) for i, item in enumerate(given))


def messages_of(items: Sequence[Item], first: int = 0) -> tuple[Message, ...]:
    """A conversation of items as messages.

    Calls join the assistant's message before them, and items of one answer are one message, as the
    model wrote them.

    Args:
        items: of earlier answers, then of this request.
        first: where those of this request begin; errors count from there.

    Raises:
        BadRequest: an item is malformed, or holds what a model of text cannot read.
    """
    read: list[Message] = []
    names: dict[str, str] = {}
    previous = ""
    for i, item in enumerate(items):
        answer = _answer_of(item)
        where = f"input[{i - first}]" if i >= first else f"previous_response_id: item {i}"
        for message in _messages(item, where, names):
            names.update({call.id: call.name for call in message.tool_calls})
            _join(read, message, is_one_answer=answer != "" and answer == previous)
        previous = answer
    return tuple(read)


def _typed(item: Any, where: str, recall: Recall) -> Item:
    if not isinstance(item, dict):
        raise BadRequest(f"{where} must be an object", param=where)
    kind = item.get("type")
    if kind == "item_reference" or (kind is None and set(item) == {"id"}):
        known = recall(text(item, "id", f"{where}."))
        if known is None:
            raise BadRequest(
                f"{where} refers to an item that this gateway does not know (any more): send the "
                "item itself",
                param=f"{where}.id",
            )
        return known
    return {"type": "message", **item} if kind is None else item


def _messages(item: Item, where: str, names: Mapping[str, str]) -> Iterable[Message]:
    kind = item["type"]
    if kind == "message":
        return [_message(item, where)]
    if kind == "function_call":
        call = ToolCall(
            id=text(item, "call_id", f"{where}."),
            name=text(item, "name", f"{where}."),
            arguments=text(item, "arguments", f"{where}."),
        )
        return [Message(role="assistant", tool_calls=(call,))]
    if kind == "function_call_output":
        call_id = text(item, "call_id", f"{where}.")
        said = _content(item.get("output"), f"{where}.output")
        name = names.get(call_id, "")
        return [Message(role="tool", content=said, tool_call_id=call_id, name=name)]
    if kind == "reasoning":
        return []  # chat templates have no place for it
    if not isinstance(kind, str):
        raise BadRequest(f"{where}.type must be a string", param=f"{where}.type")
    raise unsupported(
        f"{where}.type",
        f"{kind[:64]!r}",
        "this model reads messages of text, function_call and function_call_output",
    )


def _message(item: Item, where: str) -> Message:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadRequest(f"{where}.role must be one of {', '.join(_ROLES)}", param=f"{where}.role")
    return Message(role=_ROLES[role], content=_content(item.get("content"), f"{where}.content"))


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequest(f"{where} must be a string or a list of parts", param=where)
    return "".join(_parts(content, where))


def _parts(content: list[Any], where: str) -> Iterator[str]:
    for i, part in enumerate(content):
        at = f"{where}[{i}]"
        if not isinstance(part, dict):
            raise BadRequest(f"{at} must be an object", param=at)
        kind = part.get("type")
        if not isinstance(kind, str):
            raise BadRequest(f"{at}.type must be a string", param=f"{at}.type")
        if kind not in _TEXTS:
            raise unsupported(f"{at}.type", f"{kind[:64]!r}", "this model reads text")
        yield text(part, _TEXTS[kind], f"{at}.")


def _join(read: list[Message], message: Message, *, is_one_answer: bool) -> None:
    last = read[-1] if read else message
    joins = is_one_answer or bool(message.tool_calls)
    if read and joins and message.role == last.role == "assistant":
        read[-1] = replace(
            last,
            content=last.content + message.content,
            tool_calls=last.tool_calls + message.tool_calls,
        )
    else:
        read.append(message)


def _answer_of(item: Item) -> str:
    """The answer of ours that an item is of; empty if that is not known."""
    identity = item.get("id")
    return response_of_item(identity) if isinstance(identity, str) and identity else ""
