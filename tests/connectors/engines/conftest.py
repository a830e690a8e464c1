"""A tiny random Llama on CPU, and engines over it; the engine without a model beside them."""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from headrace.connectors.engines import Engine
from headrace.connectors.engines.null import NullEngine, NullEngineConfig
from headrace.connectors.engines.transformers.engine import (
    TransformersEngine,
    TransformersEngineConfig,
)
from headrace.infra.embedded.models import tiny_llama

OpenEngine = Callable[..., AbstractAsyncContextManager[TransformersEngine]]
OpenAny = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_versions(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Other weights for the same model, by version."""
    folder = tmp_path_factory.mktemp("versions")
    return {n: tiny_llama(folder / str(n), seed=n) for n in (1, 2, 3)}


@pytest.fixture(scope="session")
def endless(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model without an end token: completions run to max_tokens."""
    directory = tmp_path_factory.mktemp("endless") / "model"
    shutil.copytree(tiny, directory)
    for name, key in (("tokenizer_config", "eos_token"), ("generation_config", "eos_token_id")):
        path = directory / f"{name}.json"
        configuration = json.loads(path.read_text())
        del configuration[key]
        path.write_text(json.dumps(configuration))
    return directory


@asynccontextmanager
async def _transformers(directory: Path, **config: Any) -> AsyncIterator[TransformersEngine]:
    settings: dict[str, Any] = {"dtype": "float32", "device": "cpu", "threads": 1, **config}
    engine = TransformersEngine(TransformersEngineConfig(model_directory=directory, **settings))
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def _null(
    directory: Path, *, max_sequence: int = 2048, **config: Any
) -> AsyncIterator[NullEngine]:
    """Completions run to max_tokens, as those of `endless` do."""
    engine = NullEngine(NullEngineConfig(tokens=max_sequence, max_sequence=max_sequence))
    try:
        yield engine
    finally:
        await engine.close()


# The engines that keep the contract: each opens a model's directory, takes max_batch and
# max_sequence, calculates in fp32, and closes at the end.
MODELS: dict[str, OpenAny] = {"transformers": _transformers}
ENGINES: dict[str, OpenAny] = {**MODELS, "null": _null}


@pytest.fixture(scope="session", params=ENGINES)
def open_any(request: pytest.FixtureRequest) -> OpenAny:
    """`async with open_any(directory, **config) as engine`: each engine in turn."""
    return ENGINES[request.param]


@pytest.fixture(scope="session", params=MODELS)
def open_model(request: pytest.FixtureRequest) -> OpenAny:
    """As open_any, but only engines that have a model."""
    return MODELS[request.param]


@pytest.fixture(scope="session")
def open_engine() -> OpenEngine:
    """`async with open_engine(directory, **config) as engine`: the built-in one, in fp32."""
    return _transformers
