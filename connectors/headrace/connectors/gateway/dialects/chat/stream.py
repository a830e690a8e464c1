"""A chat completion, whole or while it grows. Pure."""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.gateway.conversation import (
    Answer,
    AnswerEvent,
    TextGrew,
    ToolCallGrew,
)
from headrace.connectors.gateway.dialects.base import Head
from headrace.connectors.gateway.dialects.chat.write import logprobs_of, usage_of, write
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.errors import ApiError


class ChatWriter:
    """Writes one answer."""

    def __init__(
        self, head: Head, *, with_usage: bool, with_ids: bool, with_logprobs: bool
    ) -> None:
        self._head = {
            "id": head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
        }
        self._with_usage, self._with_ids = with_usage, with_ids
        self._with_logprobs = with_logprobs
        self._begun: set[int] = set()

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """The answer's JSON."""
        return write(answer, with_ids=self._with_ids, with_logprobs=self._with_logprobs)

    def start(self) -> list[Sse]:
        """Nothing: each choice begins with its role."""
        return []

    def grew(self, event: AnswerEvent) -> list[Sse]:
        """What an event of the answer means for the client."""
        if isinstance(event, TextGrew):
            logprobs = logprobs_of(event.tokens) if self._with_logprobs and event.tokens else None
            return self._delta(event.choice, {"content": event.text}, logprobs=logprobs)
        if isinstance(event, ToolCallGrew):
            return self._delta(event.choice, {"tool_calls": [_call_delta(event)]})
        return self._delta(event.choice, {}, finish_reason=event.finish_reason)

    def end(self, answer: Answer) -> list[Sse]:
        """What goes out once the answer is whole."""
        last: list[Sse] = []
        if self._with_ids:
            ids = [
                {"index": one.index, "delta": {}, "token_ids": list(one.sampled_ids)}
                for one in answer.choices
            ]
            prompt = list(answer.choices[0].prompt_ids)
            last.append(Sse(data={**self._head, "choices": ids, "prompt_token_ids": prompt}))
        if self._with_usage:
            usage = {"choices": [], "usage": usage_of(answer.usage)}
            last.append(Sse(data={**self._head, **usage, "headrace": dict(answer.facts)}))
        return [*last, Sse(data="[DONE]")]

    def fail(self, failure: ApiError) -> list[Sse]:
        """What goes out where the answer breaks off."""
        return [Sse(data=failure.body())]

    def _delta(
        self,
        choice: int,
        delta: Mapping[str, Any],
        *,
        logprobs: Mapping[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> list[Sse]:
        sent = []
        if choice not in self._begun:
            self._begun.add(choice)
            sent.append(self._chunk(choice, {"role": "assistant", "content": ""}))
        return [*sent, self._chunk(choice, delta, logprobs, finish_reason)]

    def _chunk(
        self,
        choice: int,
        delta: Mapping[str, Any],
        logprobs: Mapping[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> Sse:
        one = {
            "index": choice,
            "delta": dict(delta),
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        with_usage = {"usage": None} if self._with_usage else {}
        return Sse(data={**self._head, "choices": [one], **with_usage})


def _call_delta(event: ToolCallGrew) -> dict[str, Any]:
    delta: dict[str, Any] = {"index": event.index, "function": {"arguments": event.arguments}}
    if event.id:
        delta |= {"id": event.id, "type": "function"}
        delta["function"]["name"] = event.name
    return delta
