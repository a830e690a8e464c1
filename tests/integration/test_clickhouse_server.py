"""The embedded server as a real process, through clickhouse-connect, plain HTTP and our client."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import lz4.frame
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from headrace.connectors.clickhouse import (
    ClickHouse,
    ClickHouseConfig,
    ClickHouseRejected,
    ClickHouseUnavailable,
    MigrationError,
    migrate,
    retrying,
)
from headrace.connectors.clickhouse.server import native

pytestmark = pytest.mark.integration

START_SECONDS = 60


def free_port() -> int:
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {START_SECONDS} s for {what}"
        time.sleep(0.05)


@dataclass
class Server:
    """A server process on a free port; `options` go on its command line."""

    path: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, port: int | None = None) -> list[str]:
        module = [sys.executable, "-m", "headrace.connectors.clickhouse.server"]
        return [*module, "--path", str(self.path), "--port", str(port or self.port), *self.options]

    def start(self) -> Server:
        with (self.path.parent / f"{self.path.name}.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        wait_for(self.answers, "the server to answer")
        return self

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=5) as response:
                return bool(response.read() == b"Ok.\n")
        except OSError:
            return False

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                self.end(signal.SIGTERM)
            except subprocess.TimeoutExpired:
                self.end(signal.SIGKILL)

    def client(self, **changes: Any) -> ClickHouse:
        return ClickHouse(ClickHouseConfig(**{"url": self.url, **changes}))

    def post(
        self, data: bytes, headers: dict[str, str] | None = None, **parameters: str
    ) -> http.client.HTTPResponse:
        url = f"{self.url}/?{urlencode(parameters)}"
        request = urllib.request.Request(url, data, headers or {}, method="POST")
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=60)
        return response

    def text(self, sql: str, **parameters: str) -> str:
        with self.post(sql.encode(), None, **parameters) as response:
            return response.read().decode()

    def refusal(self, sql: str, **parameters: str) -> tuple[int, int, str]:
        """HTTP status, ClickHouse's code and the text of a statement that must fail."""
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.text(sql, **parameters)
        with caught.value as error:
            return (
                error.code,
                int(error.headers["X-ClickHouse-Exception-Code"]),
                error.read().decode(),
            )


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


# Plain HTTP


def test_a_query_by_plain_http(server: Server) -> None:
    with server.post(b"SELECT 1 AS x FORMAT JSON", query_id="mine") as response:
        assert response.status == 200
        assert response.headers["X-ClickHouse-Query-Id"] == "mine"
        assert response.headers["X-ClickHouse-Format"] == "JSON"
        assert response.headers["X-ClickHouse-Timezone"]
        assert json.loads(response.headers["X-ClickHouse-Summary"])["result_rows"] == "1"
        assert json.load(response)["data"] == [{"x": 1}]
    assert server.text("SELECT currentDatabase()", database="default") == "headrace\n"
    assert server.text("SELECT 1", default_format="CSVWithNames") == '"1"\n1\n'


def test_get_is_for_reading_only(server: Server, table: str) -> None:
    def get(sql: str) -> bytes:
        url = f"{server.url}/?{urlencode({'query': sql})}"
        with urllib.request.urlopen(url, timeout=60) as response:
            return bytes(response.read())

    assert get(f"SELECT count() FROM {table}") == b"0\n"
    for sql in (f"INSERT INTO {table} SELECT 1, ''", f"INSERT INTO {table} VALUES (1, '')"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(sql)
        with caught.value as error:
            assert error.headers["X-ClickHouse-Exception-Code"] == "164"
    assert get("") == b"Ok.\n"


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT * FROM nowhere", 404, 60),
        ("SELEC 1 FROM", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT 1 FORMAT Nonsense", 404, 73),
        ("SELECT 1 INTO OUTFILE 'x'", 403, 497),
        ("SELECT * FROM file('x', 'LineAsString')", 403, 497),
        ("SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", 403, 497),
        ("INSERT INTO FUNCTION file('x', 'LineAsString', 'l String') VALUES ('a')", 403, 497),
        ("CREATE USER someone", 403, 497),
    ],
)
def test_errors_carry_status_code_and_text(
    server: Server, sql: str, status: int, code: int
) -> None:
    answer = server.refusal(sql)
    assert answer[:2] == (status, code)
    assert answer[2].startswith(f"Code: {code}. DB::Exception: ")


def test_unknown_settings_and_databases_are_refused(server: Server) -> None:
    assert server.refusal("SELECT 1", max_treads="2")[:2] == (404, 115)
    assert server.refusal("SELECT 1", database="nowhere")[:2] == (404, 81)
    assert server.text("SELECT getSetting('max_threads')", max_threads="3") == "3\n"
    awkward = "a'b\\c & d"
    assert server.text("SELECT getSetting('log_comment')", log_comment=awkward) == (
        "a\\'b\\\\c & d\n"
    )


def test_infile_and_outfile_touch_no_file(server: Server, table: str, tmp_path: Path) -> None:
    target = tmp_path / "out.tsv"
    assert server.refusal(f"SELECT 1 INTO/**/OUTFILE '{target}'")[1] == 497
    assert not target.exists()
    target.write_text("1\tx\n")
    assert server.refusal(f"INSERT INTO {table} FROM INFILE '{target}' FORMAT TSV")[1] == 497
    assert server.text(f"SELECT count() FROM {table}") == "0\n"


def native_wire(data: bytes) -> bytes:
    return native.pack(data[:7]) + native.pack(data[7:])


@pytest.mark.parametrize(
    ("wire", "headers", "parameters"),
    [
        (lambda data: data, {}, {}),
        (lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]), "gzip", {}),
        (lambda data: lz4.frame.compress(data[:9]) + lz4.frame.compress(data[9:]), "lz4", {}),
        (native_wire, {}, {"decompress": "1"}),
    ],
    ids=["plain", "gzip frames", "lz4 frames", "native blocks"],
)
@pytest.mark.parametrize("in_url", [True, False], ids=["query in URL", "query in body"])
def test_insert_bodies(
    server: Server,
    table: str,
    wire: Callable[[bytes], bytes],
    headers: Any,
    parameters: Any,
    in_url: bool,
) -> None:
    sql, data = f"INSERT INTO {table} FORMAT TSV", b"1\tone\n2\ttwo\n3\tthree\n"
    encoding = {"Content-Encoding": headers} if headers else {}
    if in_url:
        reply = server.post(wire(data), encoding, query=sql, **parameters)
    else:
        reply = server.post(wire(sql.encode() + b"\n" + data), encoding, **parameters)
    with reply:
        assert json.loads(reply.headers["X-ClickHouse-Summary"])["written_rows"] == "3"
    assert server.text(f"SELECT sum(a), max(s) FROM {table}") == "6\ttwo\n"


def test_a_large_insert_streams_into_one_part(server: Server, client: ClickHouse) -> None:
    client.command("CREATE TABLE wide (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    row = b"%d\t" + b"x" * 100 + b"\n"
    data = b"".join(row % n for n in range(60_000))
    with server.post(data, query="INSERT INTO wide FORMAT TSV"):
        pass
    assert client.query("SELECT count() AS n, uniqExact(a) AS u FROM wide") == [
        {"n": 60_000, "u": 60_000}
    ]
    parts = client.query("SELECT rows FROM system.parts WHERE table = 'wide' AND active")
    assert parts == [{"rows": 60_000}]
    client.command("DROP TABLE wide SYNC")


def test_a_bad_row_stores_nothing(server: Server, table: str) -> None:
    rows = b"".join(b"%d\tok\n" % n for n in range(200_000)) + b"not a number\tx\n"
    status, code, _ = 0, 0, ""
    with pytest.raises(urllib.error.HTTPError) as caught:
        server.post(rows, query=f"INSERT INTO {table} FORMAT TSV")
    with caught.value as error:
        status, code = error.code, int(error.headers["X-ClickHouse-Exception-Code"])
    assert (status, code) == (400, 27)
    assert server.text(f"SELECT count() FROM {table}") == "0\n"


def test_native_and_http_response_compression(server: Server) -> None:
    with server.post(b"SELECT number FROM numbers(100000)", compress="1") as response:
        decoder = native.NativeDecoder()
        assert decoder.feed(response.read()).count(b"\n") == 100_000
    headers = {"Accept-Encoding": "gzip"}
    with server.post(b"SELECT 1", headers, enable_http_compression="1") as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(response.read()) == b"1\n"
    with server.post(b"SELECT 1", headers) as response:
        assert response.headers["Content-Encoding"] is None


def test_an_error_in_the_middle_ends_the_body_normally(server: Server, driver: Client) -> None:
    sql = b"SELECT number, throwIf(number = 900000) FROM numbers(1000000)"
    with server.post(sql) as response:
        tag = response.headers["X-ClickHouse-Exception-Tag"].encode()
        body = response.read()
    assert b"\r\n__exception__\r\n" + tag + b"\r\nCode: 395." in body
    assert body.endswith(tag + b"\r\n__exception__\r\n")
    with pytest.raises(DatabaseError, match="395"):
        assert driver.query(sql.decode()).result_rows


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1 FORMAT JSON",
        "SELECT number FROM numbers(1000000000000)",
    ],
    ids=["in one piece", "streamed"],
)
def test_a_statement_whose_client_left_is_cancelled(server: Server, sql: str) -> None:
    running = "SELECT count() FROM system.processes WHERE query LIKE '%numbers(1000000000000)%'"
    running += " AND query NOT LIKE '%processes%'"
    body = sql.encode()
    with socket.create_connection(("127.0.0.1", server.port)) as gone:
        head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        gone.sendall(head.encode() + body)
        wait_for(lambda: server.text(running) == "1\n", "the statement to run")
    wait_for(lambda: server.text(running) == "0\n", "the statement to be cancelled")


def test_an_insert_whose_client_left_stores_nothing(server: Server, table: str) -> None:
    query = urlencode({"query": f"INSERT INTO {table} FORMAT TSV"})
    with socket.create_connection(("127.0.0.1", server.port)) as gone:
        head = f"POST /?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n"
        gone.sendall(head.encode() + b"1\tx\n" * 1_000_000)
    inserting = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO t%'"
    wait_for(lambda: server.text(inserting) == "0\n", "the insert to end")
    assert server.text(f"SELECT count() FROM {table}") == "0\n"


def test_sessions_keep_settings_and_temporary_tables(server: Server) -> None:
    server.text("SET max_threads = 1", session_id="s")
    assert server.text("SELECT getSetting('max_threads')", session_id="s") == "1\n"
    # A setting in the URL is for its request only.
    assert server.text("SELECT getSetting('max_threads')", session_id="s", max_threads="7") == "7\n"
    assert server.text("SELECT getSetting('max_threads')", session_id="s") == "1\n"
    server.text("CREATE TEMPORARY TABLE mine (a UInt8)", session_id="s")
    server.text("INSERT INTO mine VALUES (1), (2)", session_id="s")
    assert server.text("SELECT sum(a) FROM mine", session_id="s") == "3\n"
    assert server.refusal("SELECT * FROM mine", session_id="other")[1] == 60
    assert server.refusal("SELECT * FROM mine")[1] == 60
    assert server.refusal("SELECT 1", session_id="unseen", session_check="1")[1] == 372


# clickhouse-connect, unmodified


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


# Our client

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


# Life of the process


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
        with pytest.raises(ClickHouseRejected) as caught:
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
                wait_for(lambda before=before: total() > before + 20, "writers")  # type: ignore[misc]
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
        wait_for(lambda: own_server.text(running) == "2\n", "the statement to run")
        own_server.end(signal.SIGTERM)
        assert isinstance(endless.exception(), OSError)


# Migrations


@pytest.fixture
def empty(server: Server, client: ClickHouse) -> Iterator[ClickHouse]:
    """A client of a database that does not exist yet."""
    scratch = server.client(database="scratch")
    yield scratch
    client.command("DROP DATABASE IF EXISTS scratch SYNC")
    scratch.close()


def folder(path: Path, **files: str) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / f"{name.removeprefix('m')}.sql").write_text(text)
    return path


ONE = "CREATE TABLE IF NOT EXISTS one (a UInt8, s LowCardinality(String)) ENGINE = Memory;"
TWO = "CREATE VIEW IF NOT EXISTS two AS SELECT a + 1 AS b FROM one;"
THREE = "CREATE TABLE IF NOT EXISTS three (c UInt8) ENGINE = Memory;"


def test_migrations_apply_once_and_in_order(empty: ClickHouse, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", m0001_create_one=ONE, m0002_create_two=TWO)
    assert migrate.apply(empty, path) == ["0001_create_one", "0002_create_two"]
    assert migrate.apply(empty, path) == []
    folder(path, m0003_create_three=THREE)
    assert migrate.apply(empty, path, dry_run=True) == ["0003_create_three"]
    assert "three" not in migrate.live_schema(empty)
    assert [m.name for m in migrate.pending(empty, path)] == ["0003_create_three"]
    migrate.apply(empty, path)
    assert migrate.live_schema(empty) == {
        "one": {"a": "UInt8", "s": "LowCardinality(String)"},
        "two": {"b": "UInt16"},
        "three": {"c": "UInt8"},
    }
    assert migrate.declared_schema(empty, path) == migrate.live_schema(empty)


def test_a_broken_migration_is_repeated_once_mended(empty: ClickHouse, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", m0001_create_one=ONE + "\nCREATE TABLE IF;")
    with pytest.raises(ClickHouseRejected):
        migrate.apply(empty, path)
    folder(path, m0001_create_one=ONE + "\n" + THREE)
    assert migrate.apply(empty, path) == ["0001_create_one"]


def test_what_was_applied_must_not_change(empty: ClickHouse, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", m0001_create_one=ONE, m0002_create_two=TWO)
    migrate.apply(empty, path)
    folder(path, m0001_create_one=ONE + " -- changed")
    with pytest.raises(MigrationError, match=r"0001_create_one.*changed"):
        migrate.apply(empty, path)
    folder(path, m0001_create_one=ONE)
    (path / "0002_create_two.sql").unlink()
    with pytest.raises(MigrationError, match="0002_create_two was applied"):
        migrate.pending(empty, path)


def test_an_earlier_migration_cannot_be_added_later(empty: ClickHouse, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", m0001_create_one=ONE, m0002_create_two=TWO)
    migrate.apply(empty, path)
    empty.command("ALTER TABLE schema_migrations DELETE WHERE migration = 1", None)
    empty.command("OPTIMIZE TABLE schema_migrations FINAL")
    gone = "SELECT count() AS n FROM schema_migrations WHERE migration = 1"
    wait_for(lambda: empty.query(gone) == [{"n": 0}], "the row to be deleted")
    with pytest.raises(MigrationError, match="0001_create_one was left out"):
        migrate.pending(empty, path)


def test_the_shipped_migrations_declare_what_is_live(empty: ClickHouse) -> None:
    migrate.apply(empty)
    assert migrate.live_schema(empty) == migrate.declared_schema(empty)
    assert {"spans", "episodes", "groups"} <= set(migrate.live_schema(empty))
    for name in migrate.live_schema(empty):
        assert empty.query_arrow(f"SELECT * FROM {name} LIMIT 1").num_rows == 0
