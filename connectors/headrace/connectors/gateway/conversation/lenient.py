"""What a request and an answer of an upstream say, as far as it can be told.

Pure, and total for what `read_json` lets in; an answer may be nested deeper (RecursionError).
The three APIs with turns are read as one: their fields have names of their own. What is no text
(a picture, a document) stands as its JSON, so that two conversations about two pictures differ.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from headrace.connectors.gateway.conversation.messages import ROLES, Message, Role, ToolCall

_TEXTS = ("text", "input_text", "output_text", "refusal")
_THOUGHTS = ("reasoning", "thinking", "redacted_thinking")
"""Clients leave them out when they repeat an answer."""


def said(body: Mapping[str, Any]) -> tuple[Message, ...]:
    """The conversation that a request repeats; empty: it has no turns, or none can be read."""
    first = body.get("instructions") or body.get("system")
    system = (Message(role="system", content=_text(first)),) if first else ()
    turns = body.get("messages", body.get("input"))
    if isinstance(turns, str):
        return (*system, Message(role="user", content=turns))
    if not isinstance(turns, list):
        return ()
    return (*system, *_joined(message for turn in turns for message in _read(turn)))


def answered(told: Mapping[str, Any]) -> Message | None:
    """The first choice of an answer, as a later request repeats it; None: there is none.

    Raises RecursionError.
    """
    choices, turns = told.get("choices"), told.get("output")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        turns = [choices[0].get("message")]
    elif not isinstance(turns, list):
        turns = [{"role": "assistant", "content": told.get("content")}]
    read = _joined(message for turn in turns for message in _read(turn))
    spoken = [one for one in read if one.role == "assistant" and (one.content or one.tool_calls)]
    return spoken[0] if spoken else None


def previous(body: Mapping[str, Any]) -> str:
    """The answer that a request names to go on from; empty: none."""
    return _string(body.get("previous_response_id"))


def _read(turn: Any) -> Iterator[Message]:
    if not isinstance(turn, dict) or turn.get("type") in _THOUGHTS:
        return
    kind = turn.get("type")
    if kind == "function_call":
        yield Message(role="assistant", tool_calls=(_call(turn, "call_id", "arguments"),))
    elif kind == "function_call_output":
        called = _string(turn.get("call_id"))
        yield Message(role="tool", content=_text(turn.get("output")), tool_call_id=called)
    elif (role := ROLES.get(_string(turn.get("role")))) is not None:
        yield from _turn(role, turn)


def _turn(role: Role, turn: Mapping[str, Any]) -> Iterator[Message]:
    blocks = turn.get("content")
    blocks = blocks if isinstance(blocks, list) else [blocks]
    kinds = [block.get("type") if isinstance(block, dict) else None for block in blocks]
    for block, kind in zip(blocks, kinds, strict=True):
        if kind == "tool_result":  # Messages has the results in the user's turn
            called = _string(block.get("tool_use_id"))
            yield Message(role="tool", content=_text(block.get("content")), tool_call_id=called)
    calls = [
        _call(block, "id", "input")
        for block, kind in zip(blocks, kinds, strict=True)
        if kind == "tool_use"
    ]
    given = turn.get("tool_calls")
    for call in given if isinstance(given, list) else ():
        if isinstance(call, dict) and isinstance(call.get("function"), dict):
            calls.append(_call({**call["function"], "id": call.get("id")}, "id", "arguments"))
    aside = ("tool_use", "tool_result", *_THOUGHTS)
    rest = [block for block, kind in zip(blocks, kinds, strict=True) if kind not in aside]
    if rest or calls:
        yield Message(
            role=role,
            content=_text(rest),
            tool_calls=tuple(calls),
            tool_call_id=_string(turn.get("tool_call_id")),
            name=_string(turn.get("name")),
        )


def _joined(messages: Iterator[Message]) -> tuple[Message, ...]:
    """The items of one answer of the Responses API as one message, however a client groups them."""
    read: list[Message] = []
    for message in messages:
        if read and message.role == read[-1].role == "assistant":
            last = read.pop()
            message = Message(
                role="assistant",
                content=last.content + message.content,
                tool_calls=(*last.tool_calls, *message.tool_calls),
            )
        read.append(message)
    return tuple(read)


def _call(told: Mapping[str, Any], id_field: str, arguments_field: str) -> ToolCall:
    arguments = told.get(arguments_field)
    return ToolCall(
        id=_string(told.get(id_field)),
        name=_string(told.get("name")),
        arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
    )


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_text, content))
    if isinstance(content, dict) and content.get("type") in _TEXTS:
        return _string(content.get("text", content.get("refusal")))
    return json.dumps(content, sort_keys=True)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
