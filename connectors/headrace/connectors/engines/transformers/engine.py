"""The built-in engine: a transformers model on CPU or one GPU, with dynamic batching of its own."""

import asyncio
import logging
import secrets
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import torch

from headrace.connectors.engines.arithmetic import DtypeSetting, choose
from headrace.connectors.engines.base import (
    EngineStats,
    Generation,
    GenerationRequest,
    OnIncrement,
)
from headrace.connectors.engines.completion import CompletionText
from headrace.connectors.engines.delivery import Delivery, answer_of
from headrace.connectors.engines.errors import InvalidRequest, PromptTooLong, UnknownVersion
from headrace.connectors.engines.text import ReadsText, Text
from headrace.connectors.engines.transformers.constraints import Constraints
from headrace.connectors.engines.transformers.row import DecodeRow
from headrace.connectors.engines.transformers.scheduler import Scheduler
from headrace.connectors.engines.transformers.versions import VersionJob, Versions
from headrace.connectors.engines.transformers.weights import load_model

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True, frozen=True)
class TransformersEngineConfig:
    """What to serve, and on what."""

    model_directory: Path
    """A model in the manner of transformers: config.json, model.safetensors, tokenizer."""
    model_name: str | None = None
    """What it is called; None takes the directory's name."""
    version: int = 0
    """The policy version that the directory's weights are."""
    dtype: DtypeSetting = "auto"
    """Number format of the arithmetic; the weights in memory have it too."""
    device: str = "auto"
    """A torch device; auto takes the GPU if there is one."""
    max_batch: int = 48
    """Most requests decoded together; further ones wait."""
    max_sequence: int = 2048
    """Most tokens of a prompt and its completion."""
    max_versions: int = 2
    """Versions whose weights are kept in memory."""
    batch_window_ms: float = 5.0
    """How long an idle engine waits for more requests to come with the first."""
    shared_prompt_tokens: int = 8192
    """Prompt tokens whose keys and values are kept for prompts that begin alike; 0 turns sharing
    off. SmolLM2-135M takes 23 KB a token."""
    threads: int | None = None
    """CPU threads of the model; None leaves torch's choice."""

    def __post_init__(self) -> None:
        for name in ("max_batch", "max_sequence"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 1")
        if self.max_versions < 2:
            raise ValueError(
                f"max_versions is {self.max_versions}: give at least 2, so that a new version can "
                "be loaded while requests pin the old one"
            )
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}: give at least 1, or leave it out")
        if self.batch_window_ms < 0 or self.shared_prompt_tokens < 0:
            raise ValueError("batch_window_ms and shared_prompt_tokens must be 0 or more")


class TransformersEngine(ReadsText):
    """An Engine (see base.py) over a transformers model.

    The constructor loads the model, which takes seconds: build it outside the event loop. One
    thread of its own runs the model; the methods belong to the event loop that awaits them.

    On a CPU a request that runs alone repeats bit by bit, whether its prompt is read whole or is
    remembered, as long as what was remembered of it is (shared_prompt_tokens).

    Raises:
        InvalidWeights: the directory holds no model that this engine can serve.
    """

    def __init__(self, config: TransformersEngineConfig) -> None:
        self._config = config
        directory = config.model_directory
        device = _device(config.device)
        arithmetic = choose(config.dtype, device=device.type)
        logger.info("the engine calculates in %s: %s", arithmetic.dtype, arithmetic.reason)
        model = load_model(directory, getattr(torch, arithmetic.dtype), device)
        self._vocabulary = model.vocabulary
        self._text = Text(directory, model.vocabulary)
        self._constraints = Constraints(
            self._text.tokenizer, self._text.vocabulary.end_ids, model.vocabulary
        )
        self._versions = Versions(model, config.version, directory, config.max_versions)
        self._scheduler = Scheduler(
            self._versions,
            max_batch=config.max_batch,
            shared_tokens=config.shared_prompt_tokens,
            window_s=config.batch_window_ms / 1000,
            threads=config.threads,
        )

    @property
    def model_name(self) -> str:
        return self._config.model_name or self._config.model_directory.name

    @property
    def current(self) -> int:
        return self._versions.current

    def versions(self) -> tuple[int, ...]:
        return self._versions.held

    @property
    def max_versions(self) -> int:
        return self._config.max_versions

    @property
    def max_sequence(self) -> int:
        return self._config.max_sequence

    async def generate(
        self, request: GenerationRequest, on_increment: OnIncrement | None = None
    ) -> Generation:
        self._check(request)
        future: Future[Generation] = Future()
        delivery = None
        if on_increment is not None:
            delivery = Delivery(asyncio.get_running_loop(), on_increment, future.cancel)
        seed = request.sampling.seed
        row = DecodeRow(
            request,
            secrets.randbits(64) if seed is None else seed,
            future,
            CompletionText(self._text.vocabulary, request.sampling),
            delivery,
        )
        if request.constraint is not None:
            row.mask = await asyncio.to_thread(self._constraints.compile, request.constraint)
        self._scheduler.submit(row)
        return await answer_of(future, delivery)

    async def load(self, version: int, directory: Path, *, activate: bool = True) -> None:
        future: Future[None] = Future()
        self._scheduler.submit(VersionJob(version, directory, activate=activate, future=future))
        await asyncio.wrap_future(future)

    async def activate(self, version: int) -> None:
        await self.load(version, self._directory(version))

    def stats(self) -> EngineStats:
        return self._scheduler.stats()

    async def close(self) -> None:
        await asyncio.to_thread(self._scheduler.close)

    def _check(self, request: GenerationRequest) -> None:
        prompt, room = request.prompt_ids, self._config.max_sequence - request.sampling.max_tokens
        if not prompt:
            raise InvalidRequest("The prompt is empty: give at least one token.")
        if len(prompt) > room:
            raise PromptTooLong(
                f"The prompt has {len(prompt)} tokens and max_tokens is "
                f"{request.sampling.max_tokens}, but the engine's max_sequence is "
                f"{self._config.max_sequence}: shorten one of them."
            )
        if min(prompt) < 0 or max(prompt) >= self._vocabulary:
            raise InvalidRequest(
                f"The prompt holds token ids outside 0 .. {self._vocabulary - 1}: it was made with "
                "another model's tokenizer."
            )
        biased = [token for token, _ in request.sampling.logit_bias]
        if biased and not 0 <= min(biased) <= max(biased) < self._vocabulary:
            raise InvalidRequest(
                f"logit_bias names token ids outside 0 .. {self._vocabulary - 1}: they are another "
                "model's."
            )
        if request.version is not None:
            self._directory(request.version)

    def _directory(self, version: int) -> Path:
        try:
            return self._versions.directories[version]
        except KeyError:
            known = ", ".join(str(v) for v in sorted(self._versions.directories)[-5:])
            raise UnknownVersion(
                f"Version {version} of {self.model_name} was never loaded here; the latest known: "
                f"{known}."
            ) from None


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
