"""A server for the tests of a file, a server to kill, and clients of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from headrace.connectors.clickhouse import ClickHouse
from tests.integration.clickhouse.server_process import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("clickhouse") / "store")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test may kill."""
    running = Server(tmp_path / "store")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def client(server: Server) -> Iterator[ClickHouse]:
    ours = server.client()
    yield ours
    ours.close()


@pytest.fixture
def driver(server: Server) -> Iterator[Client]:
    """clickhouse-connect as its users get it: sessions, compression, no database named."""
    theirs = clickhouse_connect.get_client(host="127.0.0.1", port=server.port, dedicated_pool=True)
    yield theirs
    theirs.close()


@pytest.fixture
def table(client: ClickHouse) -> Iterator[str]:
    client.command("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    yield "t"
    client.command("DROP TABLE t SYNC")
