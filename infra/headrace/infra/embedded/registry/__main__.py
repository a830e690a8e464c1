"""`python -m headrace.infra.embedded.registry --bootstrap HOST:PORT --port 8081`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys

import uvicorn

from headrace.connectors.http_server.listening import Server, listen
from headrace.infra.embedded import ports
from headrace.infra.embedded.registry import java
from headrace.infra.embedded.registry.front import Front
from headrace.infra.embedded.registry.part import RegistryConfig
from headrace.infra.supervise.process import tied_to_this_process

EXIT_CANNOT_START = 2
EXIT_REGISTRY_ENDED = 1


def main(arguments: list[str] | None = None) -> int:
    """Run the registry and its front until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    parser = argparse.ArgumentParser(prog="python -m headrace.infra.embedded.registry")
    parser.add_argument("--bootstrap", required=True, help="the broker that keeps the schemas")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--heap-mb", type=int, default=256)
    options = parser.parse_args(arguments)
    config = RegistryConfig(bootstrap=options.bootstrap, port=options.port, heap_mb=options.heap_mb)
    try:
        listener = listen(ports.LOOPBACK, config.port)
    except OSError as error:
        sys.stderr.write(f"cannot listen on port {config.port}: {error.strerror}\n")
        return EXIT_CANNOT_START
    with listener:
        return asyncio.run(serve(config, listener))


async def serve(config: RegistryConfig, listener: socket.socket) -> int:
    """Run both until one of them ends; the exit code is 0 if it was told to."""
    host, port = java.hidden_address()
    registry = await asyncio.create_subprocess_exec(
        *tied_to_this_process(java.command(config, host, port))
    )
    server = Server(
        uvicorn.Config(
            Front(f"http://{host}:{port}"),
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,  # the registry sends one
            timeout_graceful_shutdown=5,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ended = asyncio.create_task(registry.wait())
    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
    told = server.should_exit
    server.should_exit = True
    await serving
    if registry.returncode is None:
        registry.terminate()
    code = await ended
    if not told:
        logging.error("the registry ended with code %d", code)
    return 0 if told else EXIT_REGISTRY_ENDED


if __name__ == "__main__":
    sys.exit(main())
