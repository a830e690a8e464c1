"""The built-in engine, opened and closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headrace.connectors.engines.base import Engine
from headrace.connectors.engines.registry import EngineWanted, OnLoss
from headrace.connectors.engines.transformers.engine import (
    TransformersEngine,
    TransformersEngineConfig,
)


@asynccontextmanager
async def opened(wanted: EngineWanted, _: OnLoss) -> AsyncIterator[Engine]:
    """The engine while the block runs. Raises EngineError if it cannot serve the model."""
    config = TransformersEngineConfig(
        model_directory=wanted.model,
        dtype=wanted.dtype,
        threads=wanted.threads,
        max_batch=wanted.max_batch,
        max_sequence=wanted.max_sequence,
    )
    engine = await asyncio.to_thread(TransformersEngine, config)
    try:
        yield engine
    finally:
        await engine.close()
