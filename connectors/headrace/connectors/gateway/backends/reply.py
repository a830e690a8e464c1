"""One choice of an answer while it grows: the engine's increments as events. Pure."""

from collections.abc import Callable, Sequence

from headrace.connectors.engines import Generation, Increment, TopLogprobs
from headrace.connectors.gateway.conversation import (
    AnswerEvent,
    Choice,
    ChoiceEnded,
    TextGrew,
    TokenFact,
    ToolCall,
)
from headrace.connectors.gateway.tools import ReplyParser

TokenBytes = Callable[[Sequence[int]], Sequence[bytes]]


class Reply:
    """Collects one completion; what the client gets of it goes to `on_event`."""

    def __init__(
        self,
        choice: int,
        on_event: Callable[[AnswerEvent], None],
        *,
        parser: ReplyParser | None,
        token_bytes: TokenBytes | None,
    ) -> None:
        """parser: where there are tools; token_bytes: where log-probabilities are wanted."""
        self._choice, self._on_event = choice, on_event
        self._parser, self._token_bytes = parser, token_bytes
        self._text: list[str] = []
        self._tokens: list[TokenFact] = []
        self.malformed: tuple[str, ...] = ()
        """Why what should have been calls of tools were none."""
        self.has_begun = False
        """Whether anything was sampled."""

    def grew(self, increment: Increment) -> None:
        """More was sampled."""
        self.has_begun = True
        tokens = self._facts(increment.token_ids, increment.logprobs, increment.top_logprobs)
        self._tokens += tokens
        self._tell(self._said(increment.text), tokens)

    def ended(self, generation: Generation, prompt_ids: tuple[int, ...]) -> Choice:
        """The whole choice; all of it was sent before, as engines promise."""
        text = "".join(self._text)
        calls: tuple[ToolCall, ...] = ()
        left_out = 0
        if self._parser is not None:
            self._tell(self._parser.end(), ())
            parsed = self._parser.parsed()
            text, calls, left_out = parsed.text, parsed.calls, parsed.left_out
            self.malformed = parsed.malformed
        reason = "tool_calls" if calls else generation.finish_reason
        self._on_event(ChoiceEnded(choice=self._choice, finish_reason=reason))
        return Choice(
            index=self._choice,
            text=text,
            tool_calls=calls,
            finish_reason=reason,
            stop=generation.stop,
            left_out=left_out,
            tokens=tuple(self._tokens),
            prompt_ids=prompt_ids,
            sampled_ids=generation.token_ids,
        )

    def _said(self, text: str) -> list[AnswerEvent]:
        if not text:
            return []
        self._text.append(text)
        if self._parser is not None:
            return self._parser.feed(text)
        return [TextGrew(choice=self._choice, text=text)]

    def _tell(self, events: list[AnswerEvent], tokens: tuple[TokenFact, ...]) -> None:
        """Hand events on, the tokens with the first that is text."""
        if tokens:
            first = events[0] if events else None
            text = first.text if isinstance(first, TextGrew) else ""
            told = TextGrew(choice=self._choice, text=text, tokens=tokens)
            events = [told, *(events[1:] if isinstance(first, TextGrew) else events)]
        for event in events:
            self._on_event(event)

    def _facts(
        self, ids: Sequence[int], logprobs: Sequence[float], top: Sequence[TopLogprobs]
    ) -> tuple[TokenFact, ...]:
        if self._token_bytes is None or not ids:
            return ()
        raw = self._token_bytes(ids)
        tops = [self._top(one) for one in top] if top else [()] * len(ids)
        return tuple(
            TokenFact(id=token, raw=one, logprob=logprob, top=best)
            for token, one, logprob, best in zip(ids, raw, logprobs, tops, strict=True)
        )

    def _top(self, top: TopLogprobs) -> tuple[tuple[int, bytes, float], ...]:
        assert self._token_bytes is not None
        raw = self._token_bytes([token for token, _ in top])
        return tuple((token, one, logprob) for (token, logprob), one in zip(top, raw, strict=True))
