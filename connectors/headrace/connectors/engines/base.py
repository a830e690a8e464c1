"""The contract of an inference engine. Imports no torch.

**What repeats.** A request draws with the same random numbers whenever it has the same seed, alone
or in any batch. Its logits are equal up to rounding only: a batch of another size, or a prompt
whose beginning is remembered, is computed in another shape. In fp32 that is below 1e-4 nats, and
another token comes out only where the random number (at temperature 0: the two best logits) lies
that close to a border; in bf16 it is some hundredths, so that completions of one seed may part.
What holds without exception: the log-probability of a token is that of the very distribution it was
drawn from.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from headrace.connectors.engines.errors import InvalidRequest


@dataclass(kw_only=True, slots=True, frozen=True)
class SamplingParameters:
    """How the next token is drawn: logits with penalties and bias, / temperature, then min-p, top-k
    and top-p.

    Raises:
        InvalidRequest: a value is out of range; the message names the field.
    """

    temperature: float = 1.0
    """0 takes the most probable token."""
    top_p: float = 1.0
    """Draw from the smallest set of tokens that holds this probability; 1 keeps all."""
    top_k: int = 0
    """Draw from the k most probable tokens; 0 keeps all."""
    min_p: float = 0.0
    """Leave out tokens less probable than this share of the most probable one's; 0 keeps all."""
    frequency_penalty: float = 0.0
    """Taken off a token's logit for each time that the completion has it already."""
    presence_penalty: float = 0.0
    """Taken off a token's logit if the completion has it already."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token id, what is added to its logit)."""
    seed: int | None = None
    """Equal seeds draw with equal random numbers, in any batch (see above); None: a fresh seed."""
    max_tokens: int = 16
    """Most tokens to sample, the stop token included."""
    stop: tuple[str, ...] = ()
    """Generation ends when one of these appears in the text."""
    include_stop: bool = False
    """Whether the text keeps the stop string that ended it."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InvalidRequest(f"temperature is {self.temperature}: give a number from 0 up")
        if not 0 < self.top_p <= 1:
            raise InvalidRequest(f"top_p is {self.top_p}: give a number above 0 and up to 1")
        if self.top_k < 0:
            raise InvalidRequest(f"top_k is {self.top_k}: give 0 (all tokens) or more")
        if not 0 <= self.min_p <= 1:
            raise InvalidRequest(f"min_p is {self.min_p}: give a number from 0 to 1")
        for name in ("frequency_penalty", "presence_penalty"):
            if not math.isfinite(getattr(self, name)):
                raise InvalidRequest(f"{name} is {getattr(self, name)}: give a finite number")
        if not all(math.isfinite(bias) for _, bias in self.logit_bias):
            raise InvalidRequest("logit_bias holds what is no finite number")
        if self.max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {self.max_tokens}: give at least 1")
        if "" in self.stop:
            raise InvalidRequest("stop holds an empty string: leave it out")

    @property
    def is_adjusted(self) -> bool:
        """Whether penalties or a bias change the logits."""
        return bool(self.frequency_penalty or self.presence_penalty or self.logit_bias)

    @property
    def is_plain(self) -> bool:
        """Whether all tokens have the probability that softmax(logits / temperature) gives them.

        A completion is trainable only then: the trainer knows that distribution alone.
        """
        cuts = self.top_p < 1 or self.top_k > 0 or self.min_p > 0
        return not cuts and not self.is_adjusted


@dataclass(kw_only=True, slots=True, frozen=True)
class Constraint:
    """A form that a completion must have. It masks tokens: what it shapes is off support.

    Example:
        Constraint(kind="json_schema", source='{"type": "integer"}')
    """

    kind: Literal["json_object", "json_schema", "regex", "lark"]
    source: str = ""
    """The schema as JSON, the expression or the grammar; empty for json_object."""


@dataclass(kw_only=True, slots=True, frozen=True)
class GenerationRequest:
    """One completion to sample."""

    prompt_ids: tuple[int, ...]
    sampling: SamplingParameters
    version: int | None = None
    """None follows the current version, also while it runs; a number pins that version."""
    top_logprobs: int = 0
    """How many of the most probable tokens are returned at each position."""
    constraint: Constraint | None = None
    """A form that the completion must have; None: any."""

    def __post_init__(self) -> None:
        if self.top_logprobs < 0:
            raise InvalidRequest(f"top_logprobs is {self.top_logprobs}: give 0 or more")


TopLogprobs = tuple[tuple[int, float], ...]
"""(token id, log-probability) of the most probable tokens of one position, descending."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Increment:
    """What a completion grew by. All increments of a completion, one after the other, are it."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    versions: tuple[int, ...]
    text: str
    """Text that is certain: never part of a character, nor what may be the start of a stop string.
    It may lag behind the tokens."""
    top_logprobs: tuple[TopLogprobs, ...] = ()
    """Of each token, if the request asked for them."""


OnIncrement = Callable[[Increment], None]
Messages = Sequence[Mapping[str, Any]]
"""Messages as chat templates read them: role, content, and where there are any, `tool_calls`,
`tool_call_id` and `name` as in OpenAI's API, but with a call's arguments as an object."""
Tools = Sequence[Mapping[str, Any]]
"""Tools as chat templates read them: `{"type": "function", "function": {…}}`."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Generation:
    """One sampled completion.

    Example:
        Generation(token_ids=(44, 2), logprobs=(-0.7, -0.1), versions=(3, 4), text="7",
                   finish_reason="stop", stop=None, stop_token_included=True)
    """

    token_ids: tuple[int, ...]
    """Everything that was sampled, the end token and the stop string's tokens included."""
    logprobs: tuple[float, ...]
    """float32 log-probability of each token under the distribution it was drawn from:
    softmax(logits / temperature) after all that SamplingParameters and the constraint change. At
    temperature 0, where that is a point, softmax(logits)."""
    versions: tuple[int, ...]
    """The policy version that sampled each token."""
    text: str
    """The completion without special tokens, cut before the stop string unless it is kept."""
    finish_reason: Literal["stop", "length"]
    stop: str | None
    """The stop string that ended it; None for an end token or the length."""
    stop_token_included: bool
    """Whether token_ids end with tokens that the text does not show (end token, stop string)."""
    top_logprobs: tuple[TopLogprobs, ...] = ()
    """Of each token, if the request asked for them."""

    def as_increment(self) -> Increment:
        """All of it as one increment, for whoever reads increments but had none."""
        return Increment(
            token_ids=self.token_ids,
            logprobs=self.logprobs,
            versions=self.versions,
            text=self.text,
            top_logprobs=self.top_logprobs,
        )


@dataclass(kw_only=True, slots=True, frozen=True)
class EngineStats:
    """Counts since the engine started; `running` and `waiting` are of this moment."""

    running: int
    waiting: int
    requests_total: int
    failures_total: int
    tokens_total: int
    """Sampled tokens."""
    prompt_tokens_total: int
    shared_prompt_tokens_total: int
    """Prompt tokens that were not computed, because another request's were reused."""
    swaps_total: int
    """Changes of the current version."""


class Engine(Protocol):
    """An inference engine that serves one policy, in up to a few of its versions."""

    @property
    def model_name(self) -> str:
        """What the served model is called."""

    @property
    def current(self) -> int:
        """The version that unpinned requests are sampled from."""

    def versions(self) -> tuple[int, ...]:
        """The versions whose weights are in memory, ascending."""

    @property
    def max_versions(self) -> int:
        """How many can be; with 1, none but the current one can be pinned."""

    @property
    def max_sequence(self) -> int:
        """Most tokens of a prompt and its completion."""

    @property
    def chat_template(self) -> str:
        """The model's own chat template, as Jinja; empty if it has none."""

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end a completion."""

    def render(self, messages: Messages, tools: Tools = ()) -> str:
        """A conversation by the model's chat template, up to where the answer begins.

        Raises:
            InvalidRequest: the template refuses these messages.
        """

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of text; special tokens in it are taken as such, none are added."""

    def token_bytes(self, token_ids: Sequence[int]) -> tuple[bytes, ...]:
        """The bytes that each token stands for, those of special tokens included.

        Raises:
            InvalidRequest: an id is outside the vocabulary.
        """

    async def generate(
        self, request: GenerationRequest, on_increment: OnIncrement | None = None
    ) -> Generation:
        """Sample a completion. Cancelling the awaiting task takes the request out of the batch.

        `on_increment` is called in the awaiting event loop, in order, and for the last time before
        this returns; what it raises ends the request.

        Raises:
            InvalidRequest: the prompt is empty, too long, or holds ids outside the vocabulary.
            UnknownVersion: the pinned version was never loaded.
            GenerationFailed: the model failed on it.
            EngineClosed: the engine was closed.
        """

    async def load(self, version: int, directory: Path, *, activate: bool = True) -> None:
        """Read `model.safetensors` of a directory and make it the current version.

        activate: False leaves the current version as it is; this one can be pinned.

        The change falls between two decode steps: no request is dropped, unpinned ones go on with
        the new weights, pinned ones keep theirs.

        Raises:
            InvalidWeights: the file is missing or does not fit the model; nothing changed.
            UnknownVersion: only one version can be held, and that is to stay.
        """

    async def activate(self, version: int) -> None:
        """Make a version that was loaded before the current one, reloading it if need be.

        Raises:
            UnknownVersion: it was never loaded.
            InvalidWeights: it was evicted and its directory can no longer be read.
        """

    def stats(self) -> EngineStats:
        """Counters for metrics and tests."""

    async def close(self) -> None:
        """Stop; requests that run or wait raise EngineClosed. Closing twice does nothing."""
