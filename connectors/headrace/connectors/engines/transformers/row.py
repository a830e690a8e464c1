"""A request on its way through the built-in engine."""

from concurrent.futures import Future
from dataclasses import dataclass, field

from headrace.connectors.engines.base import Generation, GenerationRequest, TopLogprobs
from headrace.connectors.engines.completion import CompletionText
from headrace.connectors.engines.delivery import Delivery, Step
from headrace.connectors.engines.transformers.constraints import TokenMask


@dataclass(slots=True, eq=False)
class DecodeRow:
    """A request and what was sampled for it so far."""

    request: GenerationRequest
    seed: int
    future: Future[Generation]
    text: CompletionText
    delivery: Delivery | None = None
    """Where increments go; None: nobody wants them."""
    mask: TokenMask | None = None
    """Where it is in the form that it must have."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    top_logprobs: list[TopLogprobs] = field(default_factory=list)

    @property
    def is_cancelled(self) -> bool:
        return self.future.cancelled()

    def accept(
        self, token: int, logprob: float, version: int, top: TopLogprobs | None
    ) -> tuple[Step, Generation | None]:
        """Take in a sampled token: what the completion grew by, and the whole of it if it ended.

        Raises:
            InvalidRequest: the form that it must have has become too costly to follow.
        """
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        self.versions.append(version)
        if top is not None:
            self.top_logprobs.append(top)
        is_complete = False
        if self.mask is not None:
            self.mask.accept(token)
            is_complete = self.mask.is_complete
        text, ending = self.text.add(token, is_complete=is_complete)
        step = Step(token, logprob, version, text, top)
        if ending is None:
            return step, None
        return step, Generation(
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs),
            versions=tuple(self.versions),
            text=self.text.text,
            finish_reason=ending.finish_reason,
            stop=ending.stop,
            stop_token_included=ending.stop_token_included,
            top_logprobs=tuple(self.top_logprobs),
        )
