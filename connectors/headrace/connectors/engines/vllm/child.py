"""A vLLM server of the gateway's own: started, waited for, stopped with it."""

import asyncio
import logging
import os
import shlex
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from headrace.connectors.engines.errors import EngineUnavailable
from headrace.connectors.engines.vllm.server import VllmServer

logger = logging.getLogger(__name__)

_STOP_S = 20.0
_POLL_S = 1.0


@dataclass(kw_only=True, slots=True, frozen=True)
class ChildConfig:
    """How a server is started."""

    command: str
    """An interpreter that has vLLM and headrace (`.venv-vllm/bin/python`); after `--`, flags for
    vLLM (`.venv-vllm/bin/python -- --enforce-eager`)."""
    model: Path
    roots: tuple[Path, ...]
    """Where weights may be loaded from."""
    dtype: str
    max_batch: int
    max_sequence: int = 2048
    start_s: float = 900.0
    """How long its start may take: it compiles for minutes."""


@asynccontextmanager
async def running_server(config: ChildConfig, on_end: Callable[[int], None]) -> AsyncIterator[str]:
    """The URL of a server that answers; it is stopped when the block ends.

    Args:
        on_end: gets the exit status if the server ends before.

    Raises:
        EngineUnavailable: it cannot be started, or does not answer in time.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    process = await _start(command_of(config, port))
    watching = asyncio.create_task(_watch(process, on_end))
    try:
        await _ready(url, process, config.start_s)
        yield url
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await _stop(process)


def command_of(config: ChildConfig, port: int) -> list[str]:
    """The command line of the server, which ends when this process does.

    Raises:
        EngineUnavailable: the command is empty.
    """
    words = shlex.split(config.command)
    interpreter, more = words, list[str]()
    if "--" in words:
        interpreter, more = words[: words.index("--")], words[words.index("--") :]
    if not interpreter:
        raise EngineUnavailable("engine_command names no interpreter")
    roots = [word for root in config.roots for word in ("--root", str(root.absolute()))]
    options = {
        "--port": port,
        "--dtype": config.dtype,
        "--max-batch": config.max_batch,
        "--max-sequence": config.max_sequence,
        "--parent": os.getpid(),
    }
    pairs = [word for name, value in options.items() for word in (name, str(value))]
    module = ["-m", "headrace.connectors.engines.vllm.serve", str(config.model.absolute())]
    return [*interpreter, *module, *pairs, *roots, *more]


async def _start(command: Sequence[str]) -> asyncio.subprocess.Process:
    if shutil.which(command[0]) is None:
        raise EngineUnavailable(
            f"{command[0]} is not there: run `make vllm`, or name in [gateway] engine_command an "
            "interpreter that has vLLM and headrace"
        )
    logger.info("starting vLLM: %s", shlex.join(command))
    # A group of its own: vLLM's processes end with it, and no Ctrl-C reaches them before us.
    return await asyncio.create_subprocess_exec(*command, start_new_session=True)


async def _ready(url: str, process: asyncio.subprocess.Process, seconds: float) -> None:
    server = VllmServer(url)
    try:
        async with asyncio.timeout(seconds):
            while not await server.answers():
                if process.returncode is not None:
                    raise EngineUnavailable(
                        f"vLLM ended with {process.returncode} before it answered: see its lines "
                        "in the gateway's log"
                    )
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise EngineUnavailable(f"vLLM did not answer within {seconds:.0f} s") from None
    finally:
        await server.close()


async def _watch(process: asyncio.subprocess.Process, on_end: Callable[[int], None]) -> None:
    on_end(await process.wait())


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP_S)
    with suppress(ProcessLookupError):  # what is left of its group
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
