"""Ids of calls as a chat template takes them. Pure."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from headrace.connectors.gateway.conversation import Message
from headrace.connectors.gateway.tools.formats import ToolFormat


def with_ids_of(form: ToolFormat, messages: Iterable[Message]) -> tuple[Message, ...]:
    """Messages whose ids of calls have the length that the format's templates ask for.

    Equal ids stay equal, so that a result still names its call. Mistral's templates refuse a
    conversation that has others.
    """
    if not form.id_length:
        return tuple(messages)
    return tuple(_shortened(message, form.id_length) for message in messages)


def _shortened(message: Message, length: int) -> Message:
    calls = tuple(replace(call, id=_id(call.id, length)) for call in message.tool_calls)
    result_of = _id(message.tool_call_id, length) if message.tool_call_id else ""
    return replace(message, tool_calls=calls, tool_call_id=result_of)


def _id(given: str, length: int) -> str:
    if len(given) == length and given.isascii() and given.isalnum():
        return given
    return hashlib.blake2b(given.encode(errors="replace"), digest_size=16).hexdigest()[:length]
