"""The engines that the settings name, one a policy, opened and closed with the gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from headrace.connectors.engines import Engine
from headrace.connectors.gateway.config import GatewayConfig


@asynccontextmanager
async def open_engine(
    config: GatewayConfig, model: Path, on_loss: Callable[[str], None]
) -> AsyncIterator[Engine]:
    """A policy's engine; it is closed when the block ends.

    Args:
        model: the policy's base model.
        on_loss: told in a sentence that a server which the gateway started has ended.

    Raises:
        EngineError: it cannot serve the model.
    """
    if config.engine == "vllm":
        async with _vllm(config, model, on_loss) as engine:
            yield engine
        return
    engine = await asyncio.to_thread(_transformers, config, model)
    try:
        yield engine
    finally:
        await engine.close()


def _transformers(config: GatewayConfig, model: Path) -> Engine:
    # Imported here: torch takes seconds, and a gateway of an upstream alone does without.
    from headrace.connectors.engines.transformers.engine import (
        TransformersEngine,
        TransformersEngineConfig,
    )

    return TransformersEngine(
        TransformersEngineConfig(
            model_directory=model,
            dtype=config.arithmetic.dtype,
            threads=config.threads,
            max_batch=config.max_batch,
            max_sequence=config.policy.max_sequence,
        )
    )


@asynccontextmanager
async def _vllm(
    config: GatewayConfig, model: Path, on_loss: Callable[[str], None]
) -> AsyncIterator[Engine]:
    from headrace.connectors.engines.vllm.child import ChildConfig, running_server
    from headrace.connectors.engines.vllm.engine import VllmEngine, VllmEngineConfig

    async with AsyncExitStack() as stack:
        url = config.engine_url
        if not url:
            child = ChildConfig(
                command=config.engine_command,
                model=model,
                roots=(config.checkpoint_directory,),
                dtype=config.arithmetic.dtype,
                max_batch=config.max_batch,
                max_sequence=config.policy.max_sequence,
            )
            url = await stack.enter_async_context(
                running_server(child, lambda status: on_loss(f"vLLM ended with {status}"))
            )
        engine = await VllmEngine.connect(
            VllmEngineConfig(
                url=url,
                model_directory=model,
                api_key=config.engine_api_key,
                max_batch=config.max_batch,
                max_sequence=config.policy.max_sequence,
            )
        )
        stack.push_async_callback(engine.close)
        yield engine
