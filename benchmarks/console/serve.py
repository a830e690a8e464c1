"""A console over tables of its own: ClickHouse's engine alone, filled by `seed`, and the pages."""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.applications import Starlette

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.http_server.listening import listen
from headrace.infra.console.app import application
from headrace.infra.console.gateway import Gateway
from headrace.infra.console.keys import Door
from headrace.infra.console.serve import server_of
from headrace.infra.embedded import running_stack


@contextmanager
def tables() -> Iterator[ClickHouse]:
    """An empty database with every migration, until the block ends."""
    with (
        tempfile.TemporaryDirectory(prefix="headrace-console-") as directory,
        running_stack(Path(directory), names=("clickhouse",)) as stack,
    ):
        client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url))
        migrate.apply(client)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def pages(
    client: ClickHouse, gateway: Gateway | None = None, door: Door | None = None
) -> Iterator[str]:
    """The URL of a console over `client`, until the block ends."""
    with served(application(client, gateway=gateway, door=door)) as url:
        yield url


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The URL of an `application`, until the block ends."""
    listener = listen("127.0.0.1", 0)
    listener.listen()
    server = server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="console")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
