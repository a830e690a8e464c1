"""The embedded server as a real process, through our client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected

KINDS = {
    "key": ("String", pa.array(["k", "z"])),
    "model": ("LowCardinality(String)", pa.array(["a", "b"])),
    "note": ("Nullable(String)", pa.array([None, "x"])),
    "state": ("Enum8('open' = 1, 'it\\'s' = -2)", pa.array(["open", "it's"])),
    "nanos": ("DateTime64(9, 'UTC')", pa.array([1, 2], pa.timestamp("ns", "UTC"))),
    "millis": ("DateTime64(3)", pa.array([5, 6], pa.timestamp("ms", "UTC"))),
    "seconds": ("DateTime", pa.array([7, 8], pa.timestamp("s", "UTC"))),
    "day": ("Date", pa.array([5, 6], pa.date32())),
    "flag": ("Bool", pa.array([True, False])),
    "small": ("Int8", pa.array([-4, 5], pa.int8())),
    "size": ("UInt32", pa.array([4, 5], pa.uint32())),
    "offset": ("Int64", pa.array([-4, 5], pa.int64())),
    "ids": ("Array(UInt32)", pa.array([[1, 2], []], pa.list_(pa.uint32()))),
    "logp": ("Array(Float32)", pa.array([[-0.5], []], pa.list_(pa.float32()))),
    "names": ("Array(LowCardinality(String))", pa.array([["a"], ["b", "a"]])),
    "states": ("Array(Enum8('a' = 1, 'b' = 2))", pa.array([["b"], ["a", "b"]])),
    "tags": (
        "Map(LowCardinality(String), String)",
        pa.array([[("a", "b")], []], pa.map_(pa.string(), pa.string())),
    ),
    "members": (
        "Array(Tuple(id String, reward Float64))",
        pa.array(
            [[{"id": "x", "reward": 1.5}], []],
            pa.list_(pa.struct([("id", pa.string()), ("reward", pa.float64())])),
        ),
    ),
    "version": ("UInt64", pa.array([1, 2], pa.uint64())),
}


def test_arrow_comes_back_as_it_went_in(client: ClickHouse) -> None:
    listing = ", ".join(f"{name} {kind}" for name, (kind, _) in KINDS.items())
    client.command(
        f"CREATE TABLE kinds ({listing}) ENGINE = ReplacingMergeTree(version) ORDER BY key"
    )
    sent = pa.table({name: column for name, (_, column) in KINDS.items()})
    assert client.insert_arrow("kinds", sent) == 2
    assert client.insert_arrow("kinds", sent.to_batches()[0]) == 2
    assert client.insert_arrow("kinds", sent.slice(0, 0)) == 0
    read = client.query_arrow("SELECT * FROM kinds FINAL ORDER BY key")
    assert read.schema.equals(sent.schema)
    assert read.equals(sent)
    sql = "SELECT * FROM kinds FINAL WHERE key = {key:String}"
    assert client.query_arrow(sql, {"key": "z"}).equals(sent.slice(1))
    assert client.query_arrow(sql, {"key": "none"}).schema.equals(sent.schema)
    client.command("DROP TABLE kinds SYNC")


def test_a_take_is_one_part_whatever_its_size(client: ClickHouse, table: str) -> None:
    rows = 1_200_000  # more than max_insert_block_size is by default
    take = pa.table({"a": pa.array(range(rows), pa.uint32()), "s": pa.array(["x"] * rows)})
    chunks = pa.concat_tables([take.slice(at, 100_000) for at in range(0, rows, 100_000)])
    assert client.insert_arrow(table, chunks) == rows
    parts = client.query("SELECT rows FROM system.parts WHERE table = 't' AND active")
    assert parts == [{"rows": rows}]


def test_rejections_carry_the_code(client: ClickHouse, table: str) -> None:
    cases: list[tuple[int, Callable[[], object]]] = [
        (60, lambda: client.query("SELECT * FROM nowhere")),
        (60, lambda: client.insert_arrow("nowhere", pa.table({"a": [1]}))),
        (47, lambda: client.query_arrow("SELECT nothing")),
        (395, lambda: client.query("SELECT throwIf(number = 900000) FROM numbers(1000000)")),
        (62, lambda: client.command("SELECT FROM WHERE")),
    ]
    for code, call in cases:
        with pytest.raises(ClickHouseRejected) as caught:
            call()
        assert caught.value.code == code


def test_readers_and_a_writer_side_by_side(client: ClickHouse, table: str) -> None:
    rows, takes = 5_000, 12
    done = threading.Event()

    def read() -> int:
        reads, seen = 0, 0
        while not done.is_set() or reads == 0:
            result = client.query(f"SELECT count() AS n, countIf(s = 'w') AS w FROM {table}")[0]
            count = int(str(result["n"]))
            assert count >= seen
            assert count % rows == 0, "a reader saw half a take"
            reads, seen = reads + 1, count
        return reads

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for take in range(takes):
                numbers = pa.array(range(take * rows, (take + 1) * rows), pa.uint32())
                client.insert_arrow(table, pa.table({"a": numbers, "s": ["w"] * rows}))
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)
    assert client.query(f"SELECT uniqExact(a) AS n FROM {table}") == [{"n": rows * takes}]
