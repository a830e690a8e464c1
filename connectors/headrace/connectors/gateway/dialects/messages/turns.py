"""Turns of the Messages API as messages: blocks of text, calls of tools and their results. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from headrace.connectors.gateway.conversation import Message, ToolCall
from headrace.connectors.gateway.dialects.fields import one_object, text, unsupported
from headrace.connectors.gateway.errors import BadRequest

# What an assistant's turn holds of its reasoning: chat templates have no place for it.
_THOUGHTS = ("thinking", "redacted_thinking")


def read_system(body: Mapping[str, Any]) -> tuple[Message, ...]:
    """The system prompt, if there is one: text or blocks of text; raises BadRequest."""
    system = body.get("system")
    if system is None or system in ("", []):
        return ()
    return (Message(role="system", content=_text_of(system, "system")),)


def read_turns(body: Mapping[str, Any], max_messages: int) -> tuple[Message, ...]:
    """The conversation; a user's turn becomes a message for each result and for its text.

    Raises:
        BadRequest: it is malformed, too long, or holds what a model of text cannot read.
    """
    turns = body.get("messages")
    if not isinstance(turns, list) or not turns:
        raise BadRequest("messages must be a list of at least one message", param="messages")
    if len(turns) > max_messages:
        raise BadRequest(
            f"messages has {len(turns)} entries: give up to {max_messages} "
            "([gateway] max_messages)",
            param="messages",
        )
    read: list[Message] = []
    names: dict[str, str] = {}
    for i, turn in enumerate(turns):
        for message in _read_turn(turn, f"messages[{i}]", names):
            names.update({call.id: call.name for call in message.tool_calls})
            read.append(message)
    if turns[-1]["role"] == "assistant":
        raise unsupported(
            f"messages[{len(turns) - 1}]",
            "(an assistant's turn that the answer would go on from)",
            "end with a user's turn",
        )
    if len(read) > max_messages:
        raise BadRequest(
            f"messages has {len(read)} texts and results: give up to {max_messages} "
            "([gateway] max_messages)",
            param="messages",
        )
    return tuple(read)


def _read_turn(turn: Any, where: str, names: Mapping[str, str]) -> Iterable[Message]:
    if not isinstance(turn, dict):
        raise BadRequest(f"{where} must be an object", param=where)
    role, content = turn.get("role"), turn.get("content")
    if role == "system":
        return [Message(role="system", content=_text_of(content, f"{where}.content"))]
    if role == "assistant":
        return [_assistant(content, f"{where}.content")]
    if role == "user":
        return _user(content, f"{where}.content", names)
    raise BadRequest(f"{where}.role must be user, assistant or system", param=f"{where}.role")


def _assistant(content: Any, where: str) -> Message:
    said, calls = [], []
    for block, at in _blocks(content, where):
        kind = block.get("type")
        if kind == "text":
            said.append(text(block, "text", f"{at}."))
        elif kind == "tool_use":
            calls.append(
                ToolCall(
                    id=text(block, "id", f"{at}."),
                    name=text(block, "name", f"{at}."),
                    arguments=json.dumps(one_object(block, "input", f"{at}."), ensure_ascii=False),
                )
            )
        elif kind not in _THOUGHTS:
            raise _unreadable(block, at)
    return Message(role="assistant", content="".join(said), tool_calls=tuple(calls))


def _user(content: Any, where: str, names: Mapping[str, str]) -> Iterator[Message]:
    said: list[str] = []
    for block, at in _blocks(content, where):
        kind = block.get("type")
        if kind == "text":
            said.append(text(block, "text", f"{at}."))
        elif kind == "tool_result":
            if said:
                yield Message(role="user", content="".join(said))
                said = []
            call = text(block, "tool_use_id", f"{at}.")
            result = block.get("content")
            yield Message(
                role="tool",
                content="" if result is None else _text_of(result, f"{at}.content"),
                tool_call_id=call,
                name=names.get(call, ""),
            )
        else:
            raise _unreadable(block, at)
    if said or not content:
        yield Message(role="user", content="".join(said))


def _text_of(content: Any, where: str) -> str:
    said = []
    for block, at in _blocks(content, where):
        if block.get("type") != "text":
            raise _unreadable(block, at)
        said.append(text(block, "text", f"{at}."))
    return "".join(said)


def _blocks(content: Any, where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}, where
        return
    if not isinstance(content, list):
        raise BadRequest(f"{where} must be a string or a list of blocks", param=where)
    for i, block in enumerate(content):
        if not isinstance(block, dict):
            raise BadRequest(f"{where}[{i}] must be an object", param=f"{where}[{i}]")
        yield block, f"{where}[{i}]"


def _unreadable(block: Mapping[str, Any], where: str) -> BadRequest:
    kind = block.get("type")
    if not isinstance(kind, str):
        return BadRequest(f"{where}.type must be a string", param=f"{where}.type")
    return unsupported(
        f"{where}.type", f"{kind[:64]!r}", "this model reads text, calls of tools and their results"
    )
