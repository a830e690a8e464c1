"""A plain completion while it grows. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.connectors.gateway.conversation import Answer, AnswerEvent, ChoiceEnded, TextGrew
from headrace.connectors.gateway.dialects.base import Head
from headrace.connectors.gateway.dialects.completions.write import (
    LegacyLogprobs,
    head,
    usage_of,
    write,
)
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.errors import ApiError


class CompletionWriter:
    """Writes one answer, whole or in chunks."""

    def __init__(
        self, begun: Head, *, echoed: Sequence[str] = (), with_usage: bool = False
    ) -> None:
        """echoed: what each choice's text begins with; with_usage: whether a stream tells it."""
        self._head = head(begun.id, begun.model, begun.created)
        self._with_usage = with_usage
        self._echoed = echoed
        self._logprobs: dict[int, LegacyLogprobs] = {}

    def whole(self, answer: Answer) -> Mapping[str, Any]:
        """The answer's JSON."""
        return write(answer, echoed=self._echoed)

    def start(self) -> list[Sse]:
        """What goes out before the first token: the prompts, where they are wanted."""
        return [self._chunk(choice, text=prompt) for choice, prompt in enumerate(self._echoed)]

    def grew(self, event: AnswerEvent) -> list[Sse]:
        """What an event of the answer means for the client."""
        if isinstance(event, ChoiceEnded):
            return [self._chunk(event.choice, finish_reason=event.finish_reason)]
        if not isinstance(event, TextGrew):
            return []  # there are no tools in this API
        logprobs = None
        if event.tokens:
            logprobs = self._logprobs.setdefault(event.choice, LegacyLogprobs()).of(event.tokens)
        return [self._chunk(event.choice, text=event.text, logprobs=logprobs)]

    def end(self, answer: Answer) -> list[Sse]:
        """What goes out once the answer is whole."""
        usage = {**self._head, "choices": [], "usage": usage_of(answer.usage)}
        return [*([Sse(data=usage)] if self._with_usage else []), Sse(data="[DONE]")]

    def fail(self, failure: ApiError) -> list[Sse]:
        """What goes out where the answer breaks off."""
        return [Sse(data=failure.body())]

    def _chunk(
        self,
        choice: int,
        *,
        text: str = "",
        logprobs: Mapping[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> Sse:
        one = {
            "index": choice,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        with_usage = {"usage": None} if self._with_usage else {}
        return Sse(data={**self._head, "choices": [one], **with_usage})
