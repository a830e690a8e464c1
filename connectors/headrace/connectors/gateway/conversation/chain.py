"""Conversations by digest: equal for what clients write differently and mean the same."""

import hashlib
import json
from collections.abc import Iterator, Sequence

from headrace.connectors.gateway.conversation.messages import Message, ToolCall


def chain(scope: str, messages: Sequence[Message]) -> Iterator[bytes]:
    """A digest for each message, of it and all before.

    A scope keeps conversations apart that must not know of each other.
    """
    state = hashlib.blake2b(scope.encode(errors="replace"), digest_size=16)
    for message in messages:
        state.update(digest(_identity(message).encode(errors="replace")))
        yield state.digest()


def digest(data: bytes) -> bytes:
    """16 bytes that stand for data."""
    return hashlib.blake2b(data, digest_size=16).digest()


def _identity(message: Message) -> str:
    """What of a message tells it from others, however its client writes it.

    Clients name the assistant, trim its text, drop the ids of its calls and write their arguments
    anew.
    """
    if message.role != "assistant":
        return json.dumps([message.role, message.content, message.name])
    calls = [[call.name, _arguments(call)] for call in message.tool_calls]
    return json.dumps([message.role, message.content.strip(), calls])


def _arguments(call: ToolCall) -> str:
    try:
        return json.dumps(json.loads(call.arguments or "{}"), sort_keys=True)
    except (ValueError, RecursionError):
        return call.arguments
