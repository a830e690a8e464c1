"""The embedded server as a real process, through clickhouse-connect, unmodified."""

from __future__ import annotations

from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.external import ExternalData

from tests.integration.clickhouse.server_process import Server


def test_clickhouse_connect_rows_columns_and_frames(driver: Client) -> None:
    driver.command("CREATE TABLE cc (a UInt32, s String, l Array(Float64)) ENGINE = Memory")
    driver.insert("cc", [[1, "x", [1.5]], [2, "y", []]], column_names=["a", "s", "l"])
    driver.insert("cc", [[3, 4], ["z", "w"], [[], []]], column_oriented=True)
    assert driver.query("SELECT * FROM cc ORDER BY a").result_rows[0] == (1, "x", [1.5])
    assert driver.query("SELECT a FROM cc ORDER BY a").result_columns == [[1, 2, 3, 4]]
    assert driver.query_df("SELECT count() AS n FROM cc")["n"].tolist() == [4]
    assert driver.query("SELECT a FROM cc LIMIT 0").column_names == ("a",)
    with driver.query_arrow_stream("SELECT number FROM numbers(200000)") as stream:
        assert sum(batch.num_rows for batch in stream) == 200_000
    with driver.query_row_block_stream("SELECT number FROM numbers(200000)") as blocks:
        assert sum(len(block) for block in blocks) == 200_000
    driver.command("DROP TABLE cc SYNC")


def test_clickhouse_connect_parameters(driver: Client) -> None:
    values = {"i": 5, "s": "it's\t\\ {x}\n", "n": None, "l": ["a", "b'"]}
    row = driver.query(
        "SELECT {i:UInt32}, {s:String}, {n:Nullable(String)}, {l:Array(String)}", parameters=values
    ).result_rows[0]
    assert list(row) == list(values.values())
    table = {"t": "one", "d": "system"}
    assert driver.command("SELECT * FROM {d:Identifier}.{t:Identifier}", parameters=table) == 0


def test_clickhouse_connect_external_data_and_temporary_tables(driver: Client) -> None:
    external = ExternalData(
        file_name="ext.csv", data=b"1,a\n2,b\n", fmt="CSV", structure="n UInt8, s String"
    )
    sql = "SELECT sum(n), max(s) FROM ext WHERE n > {least:UInt8}"
    result = driver.query(sql, parameters={"least": 0}, external_data=external)
    assert result.result_rows == [(3, "b")]
    driver.command("CREATE TEMPORARY TABLE tmp (a UInt8)")
    driver.insert("tmp", [[7]], column_names=["a"])
    assert driver.command("SELECT a FROM tmp") == 7


@pytest.mark.parametrize("compress", ["gzip", "zstd", "lz4", "br", False])
def test_clickhouse_connect_compression(server: Server, table: str, compress: Any) -> None:
    driver = clickhouse_connect.get_client(
        host="127.0.0.1", port=server.port, compress=compress, dedicated_pool=True
    )
    rows = [[n, f"row {n}"] for n in range(30_000)]
    driver.insert(table, rows, column_names=["a", "s"])
    assert driver.query(f"SELECT * FROM {table} ORDER BY a").result_rows == [
        tuple(row) for row in rows
    ]
    driver.close()
