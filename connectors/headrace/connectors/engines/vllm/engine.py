"""The engine whose model runs in a vLLM server. Imports neither vLLM nor torch itself."""

import asyncio
import json
import logging
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headrace.connectors.engines.base import (
    EngineStats,
    Generation,
    GenerationRequest,
    OnIncrement,
)
from headrace.connectors.engines.errors import (
    EngineClosed,
    EngineUnavailable,
    GenerationFailed,
    InvalidRequest,
    InvalidWeights,
    PromptTooLong,
    UnknownVersion,
)
from headrace.connectors.engines.text import ReadsText, Text
from headrace.connectors.engines.vllm.checkpoint import check_fits
from headrace.connectors.engines.vllm.request import body_of
from headrace.connectors.engines.vllm.server import ServedModel, VllmServer
from headrace.connectors.engines.vllm.stream import Completion, event_of
from headrace.connectors.engines.vllm.swap import put_weights
from headrace.connectors.engines.vllm.turns import Turns

logger = logging.getLogger(__name__)

UNNAMED = "default"
"""What vLLM calls the weights that it was started with."""


@dataclass(kw_only=True, slots=True, frozen=True)
class VllmEngineConfig:
    """Which server, and what it serves."""

    url: str
    """Where the server is, without /v1."""
    model_directory: Path
    """The model that the server was started with: its tokenizer is used here, and its weights are
    those of `version`."""
    api_key: str = ""
    """The server's key, if it wants one."""
    version: int = 0
    """The policy version that the directory's weights are."""
    max_batch: int = 48
    """Most requests that are given to the server together; further ones wait."""
    max_sequence: int | None = None
    """Most tokens of a prompt and its completion; None takes the server's limit."""


class VllmEngine(ReadsText):
    """An Engine (see base.py) over a vLLM server. `await VllmEngine.connect(config)` makes one.

    vLLM holds the weights of one version. A pin of that version is kept (a new version waits for
    such requests to end); a pin of another one is refused with UnknownVersion.

    While weights change, an increment may name the version after the change for tokens that were
    sampled before it; in the generation each token has the version that the server recorded.

    One gateway changes the weights of a server, no other client.
    """

    def __init__(
        self, config: VllmEngineConfig, server: VllmServer, served: ServedModel, text: Text
    ) -> None:
        self._config, self._server, self._text = config, server, text
        self._served_name = served.name
        self._longest = min(served.longest, config.max_sequence or served.longest)
        self._turns = Turns(config.max_batch)
        self._directories = {config.version: config.model_directory}
        self._current = config.version
        self._trouble = ""
        self._loads = 0
        self._tasks: set[asyncio.Task[Generation]] = set()
        self._is_closed = False
        self._requests = self._failures = self._tokens = 0
        self._prompt_tokens = self._shared = self._swaps = 0

    @classmethod
    async def connect(cls, config: VllmEngineConfig) -> "VllmEngine":
        """An engine over a server that runs, with the directory's weights in it.

        Raises:
            EngineUnavailable: the server does not answer, or was not started as it must be.
            InvalidWeights: the directory's weights cannot be put in.
        """
        config = replace(config, model_directory=_absolute(config.model_directory))
        text = await asyncio.to_thread(
            Text, config.model_directory, _vocabulary_size(config.model_directory)
        )
        server = VllmServer(config.url, config.api_key)
        try:
            served = await server.served()
            await server.tell("/resume")  # a gateway that died may have left it paused
            await server.check(served.name)
            engine = cls(config, server, served, text)
            if served.label == UNNAMED:
                await server.tell("/update_weight_version", {"new_version": str(config.version)})
            else:  # somebody else's weights
                await put_weights(server, config.model_directory, config.version)
        except BaseException:
            await server.close()
            raise
        return engine

    @property
    def model_name(self) -> str:
        return self._config.model_directory.name

    @property
    def current(self) -> int:
        return self._current

    def versions(self) -> tuple[int, ...]:
        return (self._current,)

    @property
    def max_versions(self) -> int:
        return 1

    @property
    def max_sequence(self) -> int:
        return self._longest

    async def generate(
        self, request: GenerationRequest, on_increment: OnIncrement | None = None
    ) -> Generation:
        self._check(request)
        self._requests += 1
        task = asyncio.create_task(self._generate(request, on_increment))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await task
        except asyncio.CancelledError:
            if self._is_closed and task.cancelled():
                raise EngineClosed("The engine was closed while the request ran.") from None
            raise
        except (GenerationFailed, EngineUnavailable):
            self._failures += 1
            raise

    async def load(self, version: int, directory: Path, *, activate: bool = True) -> None:
        self._open()
        async with self._turns.change():
            if not activate and version != self._current:
                raise self._unknown(version)
            await self._change(
                version, await asyncio.to_thread(_good, directory, self._config.model_directory)
            )

    async def activate(self, version: int) -> None:
        self._open()
        if version == self._current and not self._trouble:
            return
        if version not in self._directories:
            raise self._unknown(version)
        await self.load(version, self._directories[version])

    def stats(self) -> EngineStats:
        return EngineStats(
            running=self._turns.running,
            waiting=self._turns.waiting,
            requests_total=self._requests,
            failures_total=self._failures,
            tokens_total=self._tokens,
            prompt_tokens_total=self._prompt_tokens,
            shared_prompt_tokens_total=self._shared,
            swaps_total=self._swaps,
        )

    async def close(self) -> None:
        self._is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._server.close()

    async def _generate(
        self, request: GenerationRequest, on_increment: OnIncrement | None
    ) -> Generation:
        async with self._turns.request(pinned=request.version is not None):
            if self._trouble:
                raise GenerationFailed(self._trouble)
            if request.version not in (None, self._current):
                assert request.version is not None
                raise self._unknown(request.version)
            self._prompt_tokens += len(request.prompt_ids)
            completion = Completion(request, self._text.vocabulary)
            body = body_of(
                request,
                model=self._served_name,
                end_ids=self.end_ids,
                # What is remembered of a prompt belongs to the weights that read it.
                salt=f"{self._current}.{self._loads}",
            )
            async with self._server.completion(body) as lines:
                async for line in lines:
                    chunk = event_of(line)
                    increment = completion.add(chunk, self._current) if chunk else None
                    if increment is not None:
                        self._tokens += len(increment.token_ids)
                        if on_increment is not None:
                            on_increment(increment)
            self._shared += completion.cached_tokens
            return completion.generation()

    async def _change(self, version: int, directory: Path) -> None:
        def done() -> None:
            self._swaps += version != self._current
            self._current = version
            self._directories[version] = directory
            self._loads += 1
            self._trouble = ""

        try:
            await _to_the_end(put_weights(self._server, directory, version, done))
        except InvalidWeights:
            raise
        except EngineUnavailable as error:
            self._trouble = (
                f"which weights vLLM at {self._server.url} has is not certain ({error}); the next "
                "version that can be loaded mends it"
            )
            logger.error("%s", self._trouble)
            raise

    def _check(self, request: GenerationRequest) -> None:
        self._open()
        prompt, most = request.prompt_ids, request.sampling.max_tokens
        if not prompt:
            raise InvalidRequest("The prompt is empty: give at least one token.")
        if len(prompt) + most > self._longest:
            raise PromptTooLong(
                f"The prompt has {len(prompt)} tokens and max_tokens is {most}, but the engine's "
                f"max_sequence is {self._longest}: shorten one of them."
            )
        self._text.vocabulary.bytes_of(prompt)
        if request.version is not None and request.version not in self._directories:
            raise self._unknown(request.version)

    def _open(self) -> None:
        if self._is_closed:
            raise EngineClosed("The engine is closed. Start a new one.")

    def _unknown(self, version: int) -> UnknownVersion:
        if version in self._directories:
            return UnknownVersion(
                f"Version {version} of {self.model_name} is no longer held: vLLM has the weights "
                f"of one version, now {self._current}."
            )
        return UnknownVersion(f"Version {version} of {self.model_name} was never loaded here.")


async def _to_the_end(change: Coroutine[Any, Any, None]) -> None:
    # A change that is cut off half way leaves the server paused.
    task = asyncio.ensure_future(change)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(Exception):
            await task
        raise


def _absolute(directory: Path) -> Path:
    return directory.absolute()


def _good(directory: Path, model: Path) -> Path:
    check_fits(directory, model)
    return directory.absolute()


def _vocabulary_size(directory: Path) -> int:
    try:
        return int(json.loads((directory / "config.json").read_text())["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidWeights(f"{directory} holds no model: {error}") from error
