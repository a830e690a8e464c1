"""What the server's process refuses at its start, and what a stop or a kill leaves behind."""

from __future__ import annotations

import gzip
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.connectors.clickhouse import ClickHouseUnavailable, retrying
from headrace.infra.embedded.ports import free_port
from tests.integration.clickhouse.server_process import Server
from tests.support.waiting import wait_until


def test_a_second_owner_and_a_taken_port_are_refused(server: Server, tmp_path: Path) -> None:
    other = free_port()
    second = subprocess.run(server.command(other), capture_output=True, timeout=60, check=False)
    assert second.returncode == 2
    assert server.process is not None
    assert f"in use by process {server.process.pid}".encode() in second.stderr
    elsewhere = Server(tmp_path / "other", port=server.port)
    third = subprocess.run(elsewhere.command(), capture_output=True, timeout=60, check=False)
    assert third.returncode == 2
    assert f"Port {server.port}".encode() in third.stderr
    assert b"--port" in third.stderr
    assert server.text("SELECT 1") == "1\n"


def test_a_password_guards_every_table(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush\n")
    guarded = Server(tmp_path / "store", options=("--password-file", str(tmp_path / "key")))
    try:
        guarded.start()
        assert guarded.refusal("SELECT 1")[:2] == (403, 516)
        client = guarded.client(password="hush")
        assert client.query("SELECT 1 AS x") == [{"x": 1}]
        client.close()
        with pytest.raises(ClickHouseUnavailable, match="does not let user default in") as caught:
            guarded.client(password="wrong").query("SELECT 1")
        assert caught.value.code == 516
        assert "hush" not in str(caught.value)
    finally:
        guarded.stop()


def test_a_request_over_the_limit_is_refused(tmp_path: Path) -> None:
    small = Server(tmp_path / "store", options=("--max-request-bytes", "100000"))
    try:
        small.start()
        small.text("CREATE TABLE t (s String) ENGINE = MergeTree ORDER BY s")
        with pytest.raises(urllib.error.HTTPError) as caught:
            small.post(
                gzip.compress(b"x\n" * 100_000),
                {"Content-Encoding": "gzip"},
                query="INSERT INTO t FORMAT TSV",
            )
        with caught.value as error:
            assert (error.code, error.headers["X-ClickHouse-Exception-Code"]) == (413, "307")
        assert small.text("SELECT count() FROM t") == "0\n"
    finally:
        small.stop()


def test_sigkill_loses_no_acknowledged_batch(own_server: Server) -> None:
    """Three writers, three kills; each writer repeats the same bytes until they are taken."""
    client = own_server.client()
    client.command(
        "CREATE TABLE w (writer UInt8, batch UInt32, a UInt32) "
        "ENGINE = ReplacingMergeTree ORDER BY (writer, batch, a)"
    )
    rows, stop = 500, threading.Event()
    acknowledged: list[set[int]] = [set(), set(), set()]
    waits: list[ClickHouseUnavailable] = []

    def write(writer: int) -> None:
        batch = 0
        while not stop.is_set():
            data = pa.table(
                {
                    "writer": pa.array([writer] * rows, pa.uint8()),
                    "batch": pa.array([batch] * rows, pa.uint32()),
                    "a": pa.array(range(rows), pa.uint32()),
                }
            )
            try:
                retrying(
                    lambda data=data: client.insert_arrow("w", data),  # type: ignore[misc]
                    on_wait=waits.append,
                    stop=stop,
                    delay=0.05,
                )
            except ClickHouseUnavailable:
                return
            acknowledged[writer].add(batch)
            batch += 1

    def total() -> int:
        return sum(len(batches) for batches in acknowledged)

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, writer) for writer in range(3)]
        try:
            for _ in range(3):
                before = total()
                wait_until(lambda before=before: total() > before + 20, "writers")  # type: ignore[misc]
                own_server.end(signal.SIGKILL)
                own_server.start()
        finally:
            stop.set()
        for writer in writers:
            writer.result()
    assert waits, "no writer noticed a kill"
    found = client.query("SELECT writer, batch, uniqExact(a) AS n FROM w GROUP BY writer, batch")
    whole = {(row["writer"], row["batch"]) for row in found if row["n"] == rows}
    assert len(whole) == len(found), "a batch is stored in part"
    missing = {(w, b) for w, batches in enumerate(acknowledged) for b in batches} - whole
    assert not missing
    client.close()


def test_sigterm_closes_the_engine_and_data_stays(own_server: Server) -> None:
    own_server.text("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    own_server.text("INSERT INTO t VALUES (1)")
    client = own_server.client()
    own_server.end(signal.SIGTERM)
    log = own_server.path.parent / f"{own_server.path.name}.log"
    assert "engine closed" in log.read_text()
    with pytest.raises(ClickHouseUnavailable):
        client.query("SELECT 1")
    own_server.start()
    assert client.query("SELECT a FROM t") == [{"a": 1}]
    client.close()


def test_sigterm_ends_endless_statements(own_server: Server) -> None:
    sql = b"SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
    with ThreadPoolExecutor(1) as pool:
        endless = pool.submit(own_server.post, sql)
        running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64%'"
        wait_until(lambda: own_server.text(running) == "2\n", "the statement to run")
        own_server.end(signal.SIGTERM)
        assert isinstance(endless.exception(), OSError)
