"""What the engine cannot store is an error of the INSERT, never a silent loss."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected, ClickHouseUnavailable

BATCH = pa.table({"x": pa.array([1, 2, 3], pa.uint64())})


@pytest.fixture
def narrow(client: ClickHouse) -> Iterator[str]:
    """A table that takes two parts, and small numbers."""
    client.command(
        "CREATE TABLE narrow (x UInt64, CONSTRAINT small CHECK x < 100) ENGINE = MergeTree"
        " ORDER BY x SETTINGS parts_to_throw_insert = 2, parts_to_delay_insert = 0"
    )
    client.command("SYSTEM STOP MERGES narrow")
    yield "narrow"
    client.command("DROP TABLE narrow")


def rows(client: ClickHouse) -> object:
    return client.command("SELECT count() FROM narrow")


def test_too_many_parts_are_told_and_the_same_bytes_go_in_later(
    client: ClickHouse, narrow: str
) -> None:
    for _ in range(2):
        assert client.insert_arrow(narrow, BATCH) == 3
    with pytest.raises(ClickHouseUnavailable, match="Too many parts") as caught:
        client.insert_arrow(narrow, BATCH)
    assert caught.value.code == 252
    assert rows(client) == 6
    client.command("SYSTEM START MERGES narrow")
    client.command("OPTIMIZE TABLE narrow FINAL")
    assert client.insert_arrow(narrow, BATCH) == 3
    assert rows(client) == 9


def test_a_row_that_the_table_refuses_is_told(client: ClickHouse, narrow: str) -> None:
    with pytest.raises(ClickHouseRejected, match="violated") as caught:
        client.insert_arrow(narrow, pa.table({"x": pa.array([1, 1000], pa.uint64())}))
    assert caught.value.code == 469
    assert rows(client) == 0
