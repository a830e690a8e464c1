"""Embeddings: of a model in this process by its name, of the upstream by any other."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.connectors.engines import InvalidRequest, InvalidWeights
from headrace.connectors.engines.embeddings import (
    BUNDLED_NAME,
    Embedder,
    Embeddings,
    Text,
    bundled_model,
)
from headrace.connectors.engines.upstream import Upstream, UpstreamAnswer, UpstreamUnavailable
from headrace.connectors.gateway.errors import BackendFailed, BadRequest, ModelNotFound

HOW_TO_HAVE_ONE = (
    "install headrace[embeddings] for all-minilm-l6-v2, or set [gateway] embeddings_model to a "
    "model's folder or upstream_url to a server"
)


class LocalModel:
    """A model that is loaded when it is first asked for."""

    def __init__(self, name: str, load: Callable[[], Embedder]) -> None:
        self.name = name
        self._load = load
        self._loading = asyncio.Lock()
        self._loaded: Embedder | None = None

    async def get(self) -> Embedder:
        """The model.

        Raises:
            BackendFailed: it cannot be loaded.
        """
        async with self._loading:
            if self._loaded is None:
                try:
                    self._loaded = await asyncio.to_thread(self._load)
                except InvalidWeights as error:
                    raise BackendFailed(str(error)) from error
            return self._loaded


class EmbeddingsBackend:
    """Makes embeddings, or has them made."""

    def __init__(
        self, *, local: LocalModel | None, upstream: Upstream | None, any_name: bool = False
    ) -> None:
        """any_name: whether a model that nobody has is another name of the one in this process."""
        self._local = local
        self._upstream = upstream
        self._any_name = any_name

    def local(self, model: str) -> LocalModel | None:
        """Who in this process answers for a model; None: the upstream does.

        Raises:
            ModelNotFound: nobody has the model; the message says what to set.
        """
        if self._local is not None and model == self._local.name:
            return self._local
        if self._upstream is not None:
            return None
        if self._local is not None and self._any_name:
            return self._local
        served = f": this gateway serves {self._local.name}" if self._local else ""
        raise ModelNotFound(
            f"the model {model[:128]!r} makes no embeddings here{served}; {HOW_TO_HAVE_ONE}",
            param="model",
        )

    async def embed(self, local: LocalModel, inputs: Sequence[Text], dimensions: int) -> Embeddings:
        """The vectors of texts; `dimensions` 0: as the model has them.

        Raises:
            BadRequest: the model cannot be asked so.
            BackendFailed: it cannot be loaded.
        """
        embedder = await local.get()
        if dimensions not in (0, embedder.dimensions):
            raise BadRequest(
                f"dimensions is {dimensions}: {embedder.name} has {embedder.dimensions}, "
                "leave it out",
                param="dimensions",
            )
        try:
            return await asyncio.to_thread(embedder.embed, inputs)
        except InvalidRequest as error:
            raise BadRequest(str(error), param="input") from error

    async def forward(self, body: Mapping[str, Any]) -> UpstreamAnswer:
        """The upstream's answer as it came, an error of its own included.

        Raises:
            BackendFailed: it did not answer.
        """
        assert self._upstream is not None
        try:
            return await self._upstream.embeddings(body)
        except UpstreamUnavailable as error:
            raise BackendFailed(str(error)) from error


def local_model(setting: str) -> LocalModel | None:
    """The model of `[gateway] embeddings_model`, or the bundled one where that is installed."""
    directory = Path(setting).expanduser() if setting else bundled_model()
    if directory is None:
        return None
    name = directory.name if setting else BUNDLED_NAME
    return LocalModel(name, lambda: _load(directory, name))


def _load(directory: Path, name: str) -> Embedder:
    # Imported here: torch takes seconds, and a gateway of an upstream alone does without.
    from headrace.connectors.engines.embeddings.sentences import SentenceEmbedder

    return SentenceEmbedder(directory, name)
