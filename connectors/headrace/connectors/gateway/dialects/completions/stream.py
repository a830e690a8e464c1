"""A plain completion while it grows. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.connectors.gateway.conversation import Answer, AnswerEvent, ChoiceEnded, TextGrew
from headrace.connectors.gateway.dialects.completions.write import LegacyLogprobs, head, usage_of
from headrace.connectors.gateway.dialects.sse import Sse
from headrace.connectors.gateway.errors import ApiError


class CompletionStream:
    """Turns the events of an answer into chunks."""

    def __init__(
        self,
        *,
        identity: str,
        model: str,
        created: int,
        echoed: Sequence[str] = (),
        with_usage: bool = False,
    ) -> None:
        self._head = head(identity, model, created)
        self._with_usage = with_usage
        self._echoed = dict(enumerate(echoed))
        self._logprobs: dict[int, LegacyLogprobs] = {}

    def start(self) -> list[Sse]:
        """What goes out before the first token: the prompts, where they are wanted."""
        return [self._chunk(choice, text=prompt) for choice, prompt in self._echoed.items()]

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
