"""The console as a process: it listens, and serves until it is told to stop."""

import logging
import socket
from collections.abc import Callable
from functools import partial

import uvicorn
from starlette.applications import Starlette

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.http_server.listening import Server, listen
from headrace.connectors.loopback import is_loopback
from headrace.infra.console.app import application
from headrace.infra.console.around import Remembered, around
from headrace.infra.console.gate import own_names
from headrace.infra.console.gateway import Gateway
from headrace.infra.console.keys import door_of
from headrace.infra.console.live import Watcher
from headrace.infra.settings import Settings

LOOK_S = 5
"""Seconds for which what the broker and the supervisor say is remembered."""
STOP_S = 1
"""Seconds that open requests get at the end."""


class _Pages(Server):
    """Ends the streams of open pages before it stops: uvicorn would wait for them."""

    def __init__(self, config: uvicorn.Config, watcher: Watcher) -> None:
        super().__init__(config)
        self._watcher = watcher

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, once no stream is left."""
        self._watcher.end()
        await super().shutdown(sockets)


def server_of(app: Starlette) -> Server:
    """What serves the pages of an `application`."""
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=STOP_S)
    return _Pages(config, app.state.watcher)


def serve(settings: Settings, listening: Callable[[str], None]) -> None:
    """Serve the pages; `listening` is told the address once it answers connections.

    Raises:
        OSError: the port cannot be had.
        SettingsError: as `door_of`.
    """
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    door = door_of(settings)
    listener = listen(settings.console.host, settings.console.port)
    client = ClickHouse(settings.clickhouse_config)
    listener.listen()  # who opens the address at once waits, and is not refused
    listening(f"{settings.console.url}/")
    look = Remembered(partial(around, settings), LOOK_S)
    gateway = Gateway(settings.gateway_url, settings.gateway.key_for)
    here = is_loopback(settings.console.host) and not settings.console.names
    names = (*settings.console.names, settings.console.host)
    app = application(client, look, door, is_loopback if here else own_names(names), gateway)
    try:
        server_of(app).run(sockets=[listener])
    finally:
        listener.close()
        client.close()
