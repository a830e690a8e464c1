"""Starts the server: lock, socket, engine, uvicorn."""

import fcntl
import logging
import os
import socket
from pathlib import Path
from typing import IO

import uvicorn

from headrace.infra.embedded.clickhouse.app import App
from headrace.infra.embedded.clickhouse.config import ServerConfig
from headrace.infra.embedded.clickhouse.engine import ChdbEngine
from headrace.infra.embedded.clickhouse.errors import StartError

logger = logging.getLogger(__name__)


def serve(config: ServerConfig) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        StartError: the port answers or the folder has an owner.
    """
    listener = _listen(config)
    lock = _own(config.path)
    engine = ChdbEngine(config)
    logger.info(
        "ClickHouse engine on http://%s:%d, database %s, data in %s",
        config.host,
        config.port,
        config.database,
        config.path.absolute(),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            App(engine, config),
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=300,
            timeout_graceful_shutdown=5,
        )
    )
    try:
        server.run(sockets=[listener])
    finally:
        lock.close()


def _listen(config: ServerConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StartError(
            f"Port {config.port} on {config.host} cannot be used: {error.strerror}. Stop the "
            "process that listens there, or choose another port with --port."
        ) from error
    return listener


def _own(path: Path) -> IO[str]:
    """Takes the folder's lock; it goes with the process, however that ends."""
    path.mkdir(parents=True, exist_ok=True)
    lock = (path / "owner.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise StartError(
            f"{path.absolute()} is in use by process {owner}: one process owns a data folder. "
            "Use that server, stop it, or choose another folder with --path."
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
