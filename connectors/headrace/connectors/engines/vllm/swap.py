"""Other weights into a vLLM server between two of its steps, without dropping a request."""

import logging
from collections.abc import Callable
from pathlib import Path

from headrace.connectors.engines.errors import EngineUnavailable, InvalidWeights
from headrace.connectors.engines.vllm.names import BROKEN
from headrace.connectors.engines.vllm.server import Refused, VllmServer

logger = logging.getLogger(__name__)


async def put_weights(
    server: VllmServer,
    directory: Path,
    version: int,
    done: Callable[[], None] = lambda: None,
) -> None:
    """Pause, put the weights of a folder in under a version's name, go on.

    Requests in flight stay where they are and go on with the new weights.

    Args:
        done: called when the weights are in, before the first token is sampled with them.

    Raises:
        InvalidWeights: the server refuses the folder; it has its old weights.
        EngineUnavailable: it is not certain which weights it has.
    """
    try:
        await server.tell("/pause?mode=keep")
        try:
            await _update(server, directory, version)
            done()
            await server.tell("/reset_prefix_cache")
        finally:
            await server.tell("/resume")
    except Refused as error:
        raise EngineUnavailable(f"vLLM at {server.url} says: {error}") from error


async def _update(server: VllmServer, directory: Path, version: int) -> None:
    try:
        await server.tell("/start_weight_update")
    except Refused:  # a gateway that died in the middle of a change has left it open
        await server.tell("/finish_weight_update")
        await server.tell("/start_weight_update")
    try:
        await server.tell("/update_weights", {"update_info": {"path": str(directory)}})
    except Refused as error:
        if BROKEN in str(error):
            raise
        raise InvalidWeights(f"vLLM at {server.url} refuses {directory}: {error}") from error
    await server.tell("/finish_weight_update", {"weight_version": str(version)})
