"""The engine that the settings name, one a policy, opened and closed with the gateway."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from headrace.connectors.engines import Engine
from headrace.connectors.engines.registry import EngineWanted, OnLoss, opened
from headrace.connectors.gateway.config import GatewayConfig


def open_engine(
    config: GatewayConfig, model: Path, on_loss: OnLoss
) -> AbstractAsyncContextManager[Engine]:
    """A policy's engine on its base model; it is closed when the block ends.

    Raises EngineError, as the block is entered, if it cannot serve the model.
    """
    wanted = EngineWanted(
        model=model,
        dtype=config.arithmetic.dtype,
        max_batch=config.max_batch,
        max_sequence=config.policy.max_sequence,
        threads=config.threads,
        url=config.engine_url,
        command=config.engine_command,
        api_key=config.engine_api_key,
        roots=(config.checkpoint_directory,),
    )
    return opened(config.engine, wanted, on_loss)
