"""An engine without a model, for measuring what is around one. Imports no torch.

It keeps the contract of base.py: each token is drawn uniformly from 64 characters, at once, in the
event loop that asks. Its vocabulary is the 256 bytes and an end token.
"""

import asyncio
import itertools
import json
import math
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.connectors.engines.base import (
    EngineStats,
    Generation,
    GenerationRequest,
    Increment,
    Messages,
    OnIncrement,
    SamplingParameters,
    Tools,
    TopLogprobs,
)
from headrace.connectors.engines.completion import CompletionText, Ending
from headrace.connectors.engines.errors import (
    EngineClosed,
    InvalidRequest,
    InvalidWeights,
    PromptTooLong,
    UnknownVersion,
)
from headrace.connectors.engines.vocabulary import Vocabulary

END = 256
END_TEXT = "<|end|>"
CHARACTERS = tuple(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .")
VOCABULARY = Vocabulary(
    pieces=(*(bytes([byte]) for byte in range(256)), END_TEXT.encode()),
    hidden=frozenset({END}),
    end_ids=frozenset({END}),
)


@dataclass(kw_only=True, slots=True, frozen=True)
class NullEngineConfig:
    """What a null engine answers."""

    model_name: str = "null"
    """What the served model is called."""
    version: int = 0
    """The policy version that it says it has."""
    tokens: int = 64
    """Tokens of each completion before its end token; fewer if max_tokens is less."""
    increment_tokens: int = 1
    """Tokens of each increment."""
    max_sequence: int = 2048
    """Most tokens of a prompt and its completion."""
    max_versions: int = 2
    """Versions that it says are in memory."""

    def __post_init__(self) -> None:
        for name in ("increment_tokens", "max_sequence", "max_versions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 1")
        if self.tokens < 0:
            raise ValueError(f"tokens is {self.tokens}: give 0 or more")


class NullEngine:
    """An Engine (see base.py) that answers at once. It takes no constraints, penalties or biases.

    Example:
        engine = NullEngine(NullEngineConfig(tokens=100))
    """

    def __init__(self, config: NullEngineConfig | None = None) -> None:
        self._config = config or NullEngineConfig()
        self._current = self._config.version
        self._known = {self._current}
        self._held = [self._current]
        self._is_closed = False
        self._requests = self._tokens = self._prompt_tokens = self._swaps = 0

    @property
    def model_name(self) -> str:
        return self._config.model_name

    @property
    def current(self) -> int:
        return self._current

    def versions(self) -> tuple[int, ...]:
        return tuple(sorted(self._held))

    @property
    def max_versions(self) -> int:
        return self._config.max_versions

    @property
    def max_sequence(self) -> int:
        return self._config.max_sequence

    @property
    def chat_template(self) -> str:
        return ""

    @property
    def end_ids(self) -> frozenset[int]:
        return VOCABULARY.end_ids

    def render(self, messages: Messages, tools: Tools = ()) -> str:
        lines = [f"tools: {json.dumps(list(tools))}{END_TEXT}\n"] if tools else []
        for message in messages:
            if "role" not in message:
                raise InvalidRequest("The chat template refuses these messages: one has no role.")
            lines.append(f"{message['role']}: {message.get('content') or ''}{END_TEXT}\n")
        return "".join([*lines, "assistant: "])

    def encode(self, text: str) -> tuple[int, ...]:
        parts: list[tuple[int, ...]] = []
        for part in text.split(END_TEXT):
            parts += [(END,), tuple(part.encode())]
        return tuple(itertools.chain.from_iterable(parts[1:]))

    def token_bytes(self, token_ids: Sequence[int]) -> tuple[bytes, ...]:
        return VOCABULARY.bytes_of(token_ids)

    async def generate(
        self, request: GenerationRequest, on_increment: OnIncrement | None = None
    ) -> Generation:
        self._check(request)
        self._requests += 1
        self._prompt_tokens += len(request.prompt_ids)
        await asyncio.sleep(0)  # others have their turn, and the caller may leave
        version = self._current if request.version is None else request.version
        generation, texts = _sample(request, version, self._config.tokens)
        self._tokens += len(texts)
        if on_increment is not None:
            for increment in _increments(generation, texts, self._config.increment_tokens):
                on_increment(increment)
        return generation

    async def load(self, version: int, directory: Path, *, activate: bool = True) -> None:
        self._open()
        if not await asyncio.to_thread((directory / "model.safetensors").is_file):
            raise InvalidWeights(f"Cannot read {directory / 'model.safetensors'}: it is no file.")
        if not activate and self.max_versions == 1 and version != self._current:
            raise UnknownVersion(f"Version {version} cannot be held beside {self._current}.")
        self._known.add(version)
        if activate:
            await self.activate(version)
        else:
            self._hold(version, self._current)

    async def activate(self, version: int) -> None:
        self._open()
        self._must_know(version)
        self._swaps += version != self._current
        self._current = version
        self._hold(version)

    def _hold(self, *versions: int) -> None:
        """Keep these in memory, the last the longest."""
        held = [*(other for other in self._held if other not in versions), *versions]
        self._held = held[-self._config.max_versions :]

    def stats(self) -> EngineStats:
        return EngineStats(
            running=0,
            waiting=0,
            requests_total=self._requests,
            failures_total=0,
            tokens_total=self._tokens,
            prompt_tokens_total=self._prompt_tokens,
            shared_prompt_tokens_total=0,
            swaps_total=self._swaps,
        )

    async def close(self) -> None:
        self._is_closed = True

    def _open(self) -> None:
        if self._is_closed:
            raise EngineClosed("The engine is closed. Start a new one.")

    def _must_know(self, version: int) -> None:
        if version not in self._known:
            raise UnknownVersion(f"Version {version} of {self.model_name} was never loaded here.")

    def _check(self, request: GenerationRequest) -> None:
        self._open()
        if not request.prompt_ids:
            raise InvalidRequest("The prompt is empty: give at least one token.")
        if request.constraint is not None or request.sampling.is_adjusted:
            raise InvalidRequest(
                "This engine has no model: leave out constraint, penalties and logit_bias."
            )
        tokens, most = len(request.prompt_ids), request.sampling.max_tokens
        if tokens + most > self._config.max_sequence:
            raise PromptTooLong(
                f"The prompt has {tokens} tokens and max_tokens is {most}, but the engine's "
                f"max_sequence is {self._config.max_sequence}: shorten one of them."
            )
        VOCABULARY.bytes_of(request.prompt_ids)
        if request.version is not None:
            self._must_know(request.version)


def _sample(
    request: GenerationRequest, version: int, most: int
) -> tuple[Generation, tuple[str, ...]]:
    """A whole completion, and the text that each of its tokens made certain."""
    sampling = request.sampling
    support, logprob = _support(sampling)
    likely = support[:1] if sampling.temperature == 0 else support
    seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
    drawn = random.Random(seed).choices(likely, k=min(most, sampling.max_tokens))
    completion = CompletionText(VOCABULARY, sampling)
    texts: list[str] = []
    tokens: list[int] = []
    ending: Ending | None = None
    for token in itertools.chain(drawn, itertools.repeat(END)):
        text, ending = completion.add(token)
        tokens.append(token)
        texts.append(text)
        if ending is not None:
            break
    assert ending is not None  # the end token ends it at the latest
    asked = request.top_logprobs
    return Generation(
        token_ids=tuple(tokens),
        logprobs=(logprob,) * len(tokens),
        versions=(version,) * len(tokens),
        text=completion.text,
        finish_reason=ending.finish_reason,
        stop=ending.stop,
        stop_token_included=ending.stop_token_included,
        top_logprobs=tuple(_top(t, support, logprob, asked) for t in tokens) if asked else (),
    ), tuple(texts)


def _support(sampling: SamplingParameters) -> tuple[tuple[int, ...], float]:
    """The characters that may come, and the log-probability of each."""
    size = len(CHARACTERS)
    if sampling.temperature == 0:
        return CHARACTERS, -math.log(size)
    kept = min(sampling.top_k or size, max(1, math.ceil(sampling.top_p * size)), size)
    return CHARACTERS[:kept], -math.log(kept)


def _top(token: int, likely: Sequence[int], logprob: float, count: int) -> TopLogprobs:
    others = (other for other in likely if other != token)
    return tuple(
        (one, logprob) for one in itertools.islice(itertools.chain([token], others), count)
    )


def _increments(whole: Generation, texts: Sequence[str], size: int) -> list[Increment]:
    return [
        Increment(
            token_ids=whole.token_ids[at : at + size],
            logprobs=whole.logprobs[at : at + size],
            versions=whole.versions[at : at + size],
            text="".join(texts[at : at + size]),
            top_logprobs=whole.top_logprobs[at : at + size],
        )
        for at in range(0, len(texts), size)
    ]
