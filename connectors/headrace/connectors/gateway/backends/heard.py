"""An upstream's stream as it goes by: what may go on at once, and the answer that it adds up to.

Pure. The streams of Chat Completions, Completions, Responses and Messages are told apart by their
events.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_LAST_RESPONSES = ("response.completed", "response.incomplete", "response.failed")


class Heard:
    """Reads one stream."""

    def __init__(self, choices: int = 1) -> None:
        """choices: how many the request asks for."""
        self.held = b""
        """What may go out only when the call is durable."""
        self.is_finished = False
        """Whether all choices are whole."""
        self.is_over = False
        """Whether the stream says that nothing follows."""
        self.malformed = 0
        """Events that are no JSON object."""
        self.error: Mapping[str, Any] | None = None
        """What the upstream says went wrong."""
        self._left_out = b""
        self._choices, self._finished = choices, set[int]()
        self._fields: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._text: list[str] = []
        self._blocks: dict[int, dict[str, Any]] = {}
        self._reason: str | None = None

    def feed(self, piece: bytes) -> bytes:
        """More of the stream; gives back what may go on to the client now."""
        buffer, start, at = self._left_out + piece, 0, max(0, len(self._left_out) - 3)
        told: list[bytes] = []
        while end := _EVENT_END.search(buffer, at):
            event = buffer[start : end.end()]
            start = at = end.end()
            self._read(event)
            if self.is_finished or self.is_over:
                self.held += event
            else:
                told.append(event)
        self._left_out = buffer[start:]
        return b"".join(told)

    def end(self) -> None:
        """The stream has ended: a last event needs no empty line."""
        if self._left_out.strip():
            self.feed(b"\n\n")

    def answer(self) -> Mapping[str, Any]:
        """What was received so far, in the form of an answer that is not streamed."""
        if self._message.get("type") == "message":
            return {**self._message, "content": self._content(), "stop_reason": self._reason}
        if not self._message:
            return {**self._fields, "choices": [self._choice()]}
        return self._message

    def _read(self, event: bytes) -> None:
        lines = _LINE_END.split(event)
        data = b"\n".join(
            line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:")
        )
        if not data:
            return  # a comment, which keeps the connection alive
        if data == b"[DONE]":
            self.is_over = True
            return
        try:
            told = json.loads(data)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            self.malformed += 1
        elif isinstance(told.get("type"), str):
            self._typed(told["type"], told)
        else:
            self._chunk(told)

    def _chunk(self, told: Mapping[str, Any]) -> None:
        if isinstance(told.get("error"), dict):
            self.error = told["error"]
        for name in ("id", "model", "usage"):
            if told.get(name) is not None:
                self._fields[name] = told[name]
        choices = told.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            index = choice.get("index", 0)
            if index == 0:
                self._grew(choice)
            if isinstance(choice.get("finish_reason"), str) and isinstance(index, int):
                self._finished.add(index)
        self.is_finished = len(self._finished) >= self._choices

    def _grew(self, choice: Mapping[str, Any]) -> None:
        delta = _object(choice.get("delta"))
        for text in (delta.get("content"), choice.get("text")):
            if isinstance(text, str):
                self._text.append(text)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            call = _object(call)
            block = self._block(call.get("index"))
            function = _object(call.get("function"))
            block["id"] = block["id"] or _text(call.get("id"))
            block["name"] = block["name"] or _text(function.get("name"))
            block["pieces"].append(_text(function.get("arguments")))
        self._reason = choice.get("finish_reason") or self._reason

    def _typed(self, kind: str, told: Mapping[str, Any]) -> None:
        if kind == "error":
            self.error = _object(told.get("error")) or told
        elif kind == "response.created" or kind in _LAST_RESPONSES:
            self._message = {**_object(told.get("response")), "object": "response"}
            self.is_over = self.is_finished = kind in _LAST_RESPONSES
            if kind == "response.failed":
                self.error = _object(self._message.get("error"))
        elif kind == "message_start":
            self._message = {**_object(told.get("message")), "type": "message"}
        elif kind == "content_block_start":
            block = _object(told.get("content_block"))
            if block.get("type") == "tool_use":
                opened = self._block(told.get("index"))
                opened |= {"id": _text(block.get("id")), "name": _text(block.get("name"))}
        elif kind == "content_block_delta":
            delta = _object(told.get("delta"))
            self._text.append(_text(delta.get("text")))
            if isinstance(delta.get("partial_json"), str):
                self._block(told.get("index"))["pieces"].append(delta["partial_json"])
        elif kind == "message_delta":
            self._ended(told)
        elif kind == "message_stop":
            self.is_over = True

    def _ended(self, told: Mapping[str, Any]) -> None:
        self._reason = _text(_object(told.get("delta")).get("stop_reason")) or None
        self.is_finished = self._reason is not None
        usage = {**_object(self._message.get("usage")), **_object(told.get("usage"))}
        self._message["usage"] = usage

    def _block(self, index: Any) -> dict[str, Any]:
        at = index if isinstance(index, int) else len(self._blocks)
        return self._blocks.setdefault(at, {"id": "", "name": "", "pieces": []})

    def _choice(self) -> Mapping[str, Any]:
        text = "".join(self._text)
        calls = [
            {
                "id": block["id"],
                "type": "function",
                "function": {"name": block["name"], "arguments": "".join(block["pieces"])},
            }
            for _, block in sorted(self._blocks.items())
        ]
        message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
        return {"message": message, "finish_reason": self._reason}

    def _content(self) -> list[Mapping[str, Any]]:
        text = "".join(self._text)
        said = [{"type": "text", "text": text}] if text else []
        return [
            *said,
            *(
                {"type": "tool_use", "id": one["id"], "name": one["name"], "input": _joined(one)}
                for _, one in sorted(self._blocks.items())
            ),
        ]


def _joined(block: Mapping[str, Any]) -> Any:
    arguments = "".join(block["pieces"])
    try:
        return json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
