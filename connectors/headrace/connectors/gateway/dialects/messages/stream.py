"""A Message while it grows. Pure.

https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.gateway.conversation import (
    Answer,
    AnswerEvent,
    TextGrew,
    ToolCallGrew,
)
from headrace.connectors.gateway.dialects.base import Head
from headrace.connectors.gateway.dialects.messages.write import (
    error,
    message,
    stop_of,
    usage_of,
    write,
)
from headrace.connectors.gateway.dialects.sse import Sse, typed
from headrace.connectors.gateway.errors import ApiError


class MessageWriter:
    """Writes one answer, whole or as the events of a stream.

    Blocks come one after the other: text that follows a call of a tool opens a block of its own.
    """

    def __init__(self, head: Head) -> None:
        self._message = message(head.id, head.model)
        self._blocks = 0
        self._open: int | None = None
        """The call whose block is open; -1: a block of text; None: none."""

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """The answer's JSON."""
        return write(answer)

    def start(self) -> list[Sse]:
        """What goes out before the first token. Its usage is not known yet: the end tells it."""
        return [typed("message_start", message=self._message)]

    def grew(self, event: AnswerEvent) -> list[Sse]:
        """What an event of the answer means for the client."""
        if isinstance(event, TextGrew):
            return self._text(event.text) if event.text else []
        if isinstance(event, ToolCallGrew):
            return self._call(event)
        return self._close()

    def end(self, answer: Answer) -> list[Sse]:
        """What goes out once the answer is whole."""
        delta = stop_of(answer.choices[0])
        return [
            *self._close(),
            typed("message_delta", delta=delta, usage=usage_of(answer.usage)),
            typed("message_stop"),
        ]

    def fail(self, failure: ApiError) -> list[Sse]:
        """What goes out where the answer breaks off."""
        return [Sse(data=error(failure), name="error")]

    def _text(self, text: str) -> list[Sse]:
        opening = self._switch(-1, {"type": "text", "text": "", "citations": None})
        return [*opening, self._delta({"type": "text_delta", "text": text})]

    def _call(self, event: ToolCallGrew) -> list[Sse]:
        block = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
        sent = self._switch(event.index, block)
        if event.arguments:
            sent.append(self._delta({"type": "input_json_delta", "partial_json": event.arguments}))
        return sent

    def _switch(self, to: int, block: dict[str, Any]) -> list[Sse]:
        """Close the block that is open and open this one, unless it is open already."""
        if self._open == to:
            return []
        sent = self._close()
        self._open = to
        self._blocks += 1
        index = self._blocks - 1
        return [*sent, typed("content_block_start", index=index, content_block=block)]

    def _delta(self, delta: dict[str, Any]) -> Sse:
        return typed("content_block_delta", index=self._blocks - 1, delta=delta)

    def _close(self) -> list[Sse]:
        if self._open is None:
            return []
        self._open = None
        return [typed("content_block_stop", index=self._blocks - 1)]
