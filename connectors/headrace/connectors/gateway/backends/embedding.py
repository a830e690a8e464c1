"""Embeddings: of a model in this process by its name, of the upstream by any other."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.connectors.engines import InvalidRequest, InvalidWeights
from headrace.connectors.engines.embeddings import BUNDLED_NAME, Embedder, bundled_model
from headrace.connectors.engines.upstream import Upstream, UpstreamUnavailable
from headrace.connectors.gateway.dialects.embeddings.read import EmbeddingsRequest, read
from headrace.connectors.gateway.dialects.embeddings.write import write
from headrace.connectors.gateway.dialects.fields import model_of
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


@dataclass(kw_only=True, slots=True, frozen=True)
class EmbeddingsAnswer:
    """What goes out."""

    status: int
    body: bytes


class EmbeddingsBackend:
    """Answers requests of the Embeddings API."""

    def __init__(
        self, *, local: LocalModel | None, upstream: Upstream | None, any_name: bool = False
    ) -> None:
        """any_name: whether a model that nobody has is another name of the one in this process."""
        self._local = local
        self._upstream = upstream
        self._any_name = any_name

    async def answer(self, body: Mapping[str, Any]) -> EmbeddingsAnswer:
        """The answer to a request; an upstream's goes on as it came, errors included.

        Raises:
            BadRequest: the model in this process cannot be asked so.
            ModelNotFound: nobody has the model; the message says what to set.
            BackendFailed: who has it failed.
        """
        model = model_of(body)
        if self._local is not None and model == self._local.name:
            return await self._embed(self._local, read(body))
        if self._upstream is not None:
            return await self._forward(self._upstream, body)
        if self._local is not None and self._any_name:
            return await self._embed(self._local, read(body))
        served = f": this gateway serves {self._local.name}" if self._local else ""
        raise ModelNotFound(
            f"the model {model[:128]!r} makes no embeddings here{served}; {HOW_TO_HAVE_ONE}",
            param="model",
        )

    async def _embed(self, local: LocalModel, request: EmbeddingsRequest) -> EmbeddingsAnswer:
        embedder = await local.get()
        if request.dimensions not in (0, embedder.dimensions):
            raise BadRequest(
                f"dimensions is {request.dimensions}: {embedder.name} has {embedder.dimensions}, "
                "leave it out",
                param="dimensions",
            )
        try:
            embeddings = await asyncio.to_thread(embedder.embed, request.inputs)
        except InvalidRequest as error:
            raise BadRequest(str(error), param="input") from error
        answer = write(embeddings, model=request.model, as_base64=request.base64)
        return EmbeddingsAnswer(status=200, body=json.dumps(answer).encode())

    async def _forward(self, upstream: Upstream, body: Mapping[str, Any]) -> EmbeddingsAnswer:
        try:
            answer = await upstream.embeddings(body)
        except UpstreamUnavailable as error:
            raise BackendFailed(str(error)) from error
        return EmbeddingsAnswer(status=answer.status, body=answer.body)


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
