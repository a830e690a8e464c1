"""The engine that the settings name, opened and closed with the gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from headrace.connectors.engines import Engine
from headrace.connectors.gateway.config import GatewayConfig


@asynccontextmanager
async def open_engine(
    config: GatewayConfig, on_loss: Callable[[str], None]
) -> AsyncIterator[Engine]:
    """The policy's engine; it is closed when the block ends.

    Args:
        on_loss: told in a sentence that a server which the gateway started has ended.

    Raises:
        EngineError: it cannot serve the model.
    """
    if config.engine == "vllm":
        async with _vllm(config, on_loss) as engine:
            yield engine
        return
    engine = await asyncio.to_thread(_transformers, config)
    try:
        yield engine
    finally:
        await engine.close()


def _transformers(config: GatewayConfig) -> Engine:
    # Imported here: torch takes seconds, and a gateway of an upstream alone does without.
    from headrace.connectors.engines.transformers.engine import (
        TransformersEngine,
        TransformersEngineConfig,
    )

    assert config.model_directory is not None
    return TransformersEngine(
        TransformersEngineConfig(
            model_directory=config.model_directory,
            dtype=config.arithmetic.dtype,
            threads=config.threads,
            max_batch=config.max_batch,
        )
    )


@asynccontextmanager
async def _vllm(config: GatewayConfig, on_loss: Callable[[str], None]) -> AsyncIterator[Engine]:
    from headrace.connectors.engines.vllm.child import ChildConfig, running_server
    from headrace.connectors.engines.vllm.engine import VllmEngine, VllmEngineConfig

    assert config.model_directory is not None
    async with AsyncExitStack() as stack:
        url = config.engine_url
        if not url:
            child = ChildConfig(
                command=config.engine_command,
                model=config.model_directory,
                roots=(config.checkpoint_directory,),
                dtype=config.arithmetic.dtype,
                max_batch=config.max_batch,
            )
            url = await stack.enter_async_context(
                running_server(child, lambda status: on_loss(f"vLLM ended with {status}"))
            )
        engine = await VllmEngine.connect(
            VllmEngineConfig(
                url=url,
                model_directory=config.model_directory,
                api_key=config.engine_api_key,
                max_batch=config.max_batch,
            )
        )
        stack.push_async_callback(engine.close)
        yield engine
