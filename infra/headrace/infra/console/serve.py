"""The console as a process: it listens, and serves until it is told to stop."""

import logging
from collections.abc import Callable
from functools import partial

import uvicorn

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.http_server.listening import Server, listen
from headrace.infra.console.app import application
from headrace.infra.console.around import Remembered, around
from headrace.infra.settings import Settings

HOST = "127.0.0.1"
LOOK_S = 5
"""Seconds for which what the broker and the supervisor say is remembered."""
STOP_S = 1
"""Seconds that open requests get at the end."""


def serve(settings: Settings, port: int, listening: Callable[[str], None]) -> None:
    """Serve the pages; `listening` is told the address once it answers connections.

    Raises:
        OSError: the port cannot be had.
    """
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    listener = listen(HOST, port)
    client = ClickHouse(settings.clickhouse_config)
    listener.listen()  # who opens the address at once waits, and is not refused
    listening(f"http://{HOST}:{port}/")
    config = uvicorn.Config(
        application(client, Remembered(partial(around, settings), LOOK_S)),
        log_level="warning",
        timeout_graceful_shutdown=STOP_S,
    )
    try:
        Server(config).run(sockets=[listener])
    finally:
        listener.close()
        client.close()
