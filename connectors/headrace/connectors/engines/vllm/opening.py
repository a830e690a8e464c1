"""A vLLM server as an engine: one that runs, or one that is started here."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from headrace.connectors.engines.base import Engine
from headrace.connectors.engines.registry import EngineWanted, OnLoss
from headrace.connectors.engines.vllm.child import ChildConfig, running_server
from headrace.connectors.engines.vllm.engine import VllmEngine, VllmEngineConfig


@asynccontextmanager
async def opened(wanted: EngineWanted, on_loss: OnLoss) -> AsyncIterator[Engine]:
    """The engine while the block runs. Raises EngineError if the server cannot serve the model."""
    async with AsyncExitStack() as stack:
        url = wanted.url
        if not url:
            child = ChildConfig(
                command=wanted.command,
                model=wanted.model,
                roots=wanted.roots,
                dtype=wanted.dtype,
                max_batch=wanted.max_batch,
                max_sequence=wanted.max_sequence,
            )
            url = await stack.enter_async_context(
                running_server(child, lambda status: on_loss(f"vLLM ended with {status}"))
            )
        engine = await VllmEngine.connect(
            VllmEngineConfig(
                url=url,
                model_directory=wanted.model,
                api_key=wanted.api_key,
                max_batch=wanted.max_batch,
                max_sequence=wanted.max_sequence,
            )
        )
        stack.push_async_callback(engine.close)
        yield engine
