"""A response while it grows. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Callable, Mapping
from typing import Any

from headrace.connectors.gateway.conversation import (
    Answer,
    AnswerEvent,
    TextGrew,
    TokenFact,
    ToolCall,
    ToolCallGrew,
)
from headrace.connectors.gateway.dialects.base import Head
from headrace.connectors.gateway.dialects.responses.write import (
    Status,
    begun,
    call_item,
    failed,
    finished,
    item_id,
    last_status,
    logprobs_of,
    message_item,
    text_part,
    write,
)
from headrace.connectors.gateway.dialects.sse import Sse, typed
from headrace.connectors.gateway.errors import ApiError


class ResponseWriter:
    """Writes one answer, whole or as the events of a stream.

    Items come one after the other: text that follows a call of a function is a message of its own.
    """

    def __init__(
        self,
        head: Head,
        *,
        repeated: Mapping[str, Any],
        keep: Callable[[Mapping[str, Any]], None] = lambda _response: None,
    ) -> None:
        """repeated: fields of the request that the answer holds; keep: told the whole answer before
        its end goes out."""
        self._identity = head.id
        self._repeated = repeated
        self._keep = keep
        self._response = begun(head.id, head.model, head.created, repeated)
        self._sent = 0
        self._items: list[dict[str, Any]] = []
        self._open: _GrowingMessage | _GrowingCall | None = None
        self._tokens: list[TokenFact] = []
        """That came while no message was open."""

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """The answer's JSON."""
        response = write(answer, self._repeated)
        self._keep(response)
        return response

    def start(self) -> list[Sse]:
        """What goes out before the first token."""
        return [
            self._send("response.created", response=self._response),
            self._send("response.in_progress", response=self._response),
        ]

    def grew(self, event: AnswerEvent) -> list[Sse]:
        """What an event of the answer means for the client."""
        if isinstance(event, TextGrew):
            return self._text(event)
        if isinstance(event, ToolCallGrew):
            return self._call(event)
        opening = [] if self._open or self._items else self._open_message()
        return [*opening, *self._close(last_status(event.finish_reason))]

    def end(self, answer: Answer) -> list[Sse]:
        """What goes out once the answer is whole."""
        response = finished(answer, self._repeated, self._items)
        self._keep(response)
        return [self._send(f"response.{response['status']}", response=response)]

    def fail(self, failure: ApiError) -> list[Sse]:
        """What goes out where the answer breaks off."""
        broken = {**failed(self._response, failure), "output": self._items}
        return [self._send("response.failed", response=broken)]

    def _text(self, event: TextGrew) -> list[Sse]:
        self._tokens.extend(event.tokens)
        if not event.text:
            return []
        sent = [] if isinstance(self._open, _GrowingMessage) else self._open_message()
        assert isinstance(self._open, _GrowingMessage)
        self._open.text += event.text
        grown, self._tokens = self._tokens, []
        self._open.tokens += grown
        return [
            *sent,
            self._send(
                "response.output_text.delta",
                **self._part(),
                delta=event.text,
                logprobs=logprobs_of(grown),
            ),
        ]

    def _call(self, event: ToolCallGrew) -> list[Sse]:
        sent = []
        if not isinstance(self._open, _GrowingCall) or self._open.index != event.index:
            sent = self._close("completed")
            self._open = _GrowingCall(event.index, event.id, event.name)
            call = self._open.call()
            item = call_item(self._item_id("fc"), call, "in_progress")
            sent.append(self._send("response.output_item.added", **self._at(), item=item))
        if event.arguments:
            self._open.arguments += event.arguments
            sent.append(
                self._send(
                    "response.function_call_arguments.delta",
                    item_id=self._item_id("fc"),
                    **self._at(),
                    delta=event.arguments,
                )
            )
        return sent

    def _open_message(self) -> list[Sse]:
        sent = self._close("completed")
        self._open = _GrowingMessage()
        item = message_item(self._item_id("msg"), "", "in_progress")
        return [
            *sent,
            self._send("response.output_item.added", **self._at(), item=item),
            self._send("response.content_part.added", **self._part(), part=text_part("")),
        ]

    def _close(self, status: Status) -> list[Sse]:
        """End the item that is open."""
        if self._open is None:
            return []
        if isinstance(self._open, _GrowingMessage):
            sent, item = self._close_message(self._open, status)
        else:
            sent, item = self._close_call(self._open, status)
        sent.append(self._send("response.output_item.done", **self._at(), item=item))
        self._items.append(item)
        self._open = None
        return sent

    def _close_message(
        self, open_: "_GrowingMessage", status: Status
    ) -> tuple[list[Sse], dict[str, Any]]:
        open_.tokens += self._tokens
        self._tokens = []
        part = text_part(open_.text, open_.tokens)
        sent = [
            self._send(
                "response.output_text.done",
                **self._part(),
                text=open_.text,
                logprobs=part["logprobs"],
            ),
            self._send("response.content_part.done", **self._part(), part=part),
        ]
        return sent, message_item(self._item_id("msg"), open_.text, status, open_.tokens)

    def _close_call(
        self, open_: "_GrowingCall", status: Status
    ) -> tuple[list[Sse], dict[str, Any]]:
        sent = self._send(
            "response.function_call_arguments.done",
            item_id=self._item_id("fc"),
            **self._at(),
            name=open_.name,
            arguments=open_.arguments,
        )
        return [sent], call_item(self._item_id("fc"), open_.call(), status)

    def _item_id(self, kind: str) -> str:
        return item_id(kind, self._identity, len(self._items))

    def _at(self) -> dict[str, Any]:
        return {"output_index": len(self._items)}

    def _part(self) -> dict[str, Any]:
        return {"item_id": self._item_id("msg"), **self._at(), "content_index": 0}

    def _send(self, kind: str, **data: Any) -> Sse:
        self._sent += 1
        return typed(kind, sequence_number=self._sent - 1, **data)


class _GrowingMessage:
    def __init__(self) -> None:
        self.text = ""
        self.tokens: list[TokenFact] = []


class _GrowingCall:
    def __init__(self, index: int, identity: str, name: str) -> None:
        self.index, self.identity, self.name = index, identity, name
        self.arguments = ""

    def call(self) -> ToolCall:
        return ToolCall(id=self.identity, name=self.name, arguments=self.arguments)
