"""Where drivers and scripts count on what ClickHouse's own HTTP interface does."""

import gzip
import http.client
import io
import json
import re
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import brotli
import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from headrace.infra.embedded.clickhouse.native import NativeDecoder
from tests.integration.clickhouse.server_process import Server

LATE = "SELECT throwIf(number = 3000000), number FROM numbers(4000000)"
RUNS = ["TSV", "CSV", "JSONEachRow", "Native", "RowBinary", "ArrowStream"]
WHOLE = ["JSON", "Arrow", "Parquet", "TSVWithNames"]


def cut_answer(server: Server, sql: str, headers: dict[str, str], **parameters: str) -> bytes:
    """The body of an answer that must not end well, with status 200."""
    with server.post(sql.encode(), headers, **parameters) as response:
        tag = response.headers["X-ClickHouse-Exception-Tag"]
        assert tag
        with pytest.raises(http.client.IncompleteRead) as cut:
            response.read()
        return cut.value.partial


@pytest.mark.parametrize("form", RUNS)
def test_an_error_after_the_first_bytes_ends_the_connection_badly(
    server: Server, form: str
) -> None:
    body = cut_answer(server, f"{LATE} FORMAT {form}", {})
    found = re.search(
        rb"\r\n__exception__\r\n(\w{16})\r\n(Code: 395\..*\n)(\d+) \1\r\n__exception__\r\n$",
        body,
        re.DOTALL,
    )
    assert found
    assert int(found[3]) == len(found[2])
    assert re.search(rb"\(version [\d.]+ \(official build\)\)\n$", found[2])


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(),
    "lz4": lz4.frame.decompress,
    "br": brotli.decompress,
}


@pytest.mark.parametrize("coding", DECODERS)
def test_the_exception_can_be_read_under_compression(server: Server, coding: str) -> None:
    headers = {"Accept-Encoding": coding}
    body = cut_answer(server, f"{LATE} FORMAT CSV", headers, enable_http_compression="1")
    assert b"__exception__\r\n" in DECODERS[coding](body)[-2000:]
    native = cut_answer(server, f"{LATE} FORMAT CSV", {}, compress="1")
    assert b"__exception__\r\n" in NativeDecoder().feed(native)[-2000:]


def test_drivers_do_not_take_a_cut_answer_for_whole(server: Server, driver: Client) -> None:
    for ask in (driver.raw_query, driver.query, driver.query_arrow):
        with pytest.raises((ClickHouseError, HTTPError)):
            ask(LATE)
    with pytest.raises((ClickHouseError, HTTPError)), driver.raw_stream(LATE) as stream:
        stream.read()


@pytest.mark.parametrize("form", [*RUNS, *WHOLE])
@pytest.mark.parametrize("name", ["wait_end_of_query", "http_wait_end_of_query"])
def test_waited_for_to_its_end_an_error_is_a_status_without_rows(
    server: Server, form: str, name: str
) -> None:
    status, code, text = server.refusal(f"{LATE} FORMAT {form}", **{name: "1"})
    assert (status, code) == (500, 395)
    assert text.startswith("Code: 395. DB::Exception: ")
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("form", WHOLE[:3])
def test_formats_that_are_made_in_one_piece_need_not_be_waited_for(
    server: Server, form: str
) -> None:
    assert server.refusal(f"{LATE} FORMAT {form}")[:2] == (500, 395)


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_a_large_answer_that_is_waited_for_is_whole(server: Server, coding: str | None) -> None:
    sql = b"SELECT number FROM numbers(5000000) FORMAT RowBinary"
    headers = {"Accept-Encoding": coding} if coding else {}
    flags = {"wait_end_of_query": "1", "enable_http_compression": "1"}
    with server.post(sql, headers, **flags) as response:
        size = int(response.headers["Content-Length"])
        body = response.read()
    assert len(body) == size
    data = gzip.decompress(body) if coding else body
    assert len(data) == 8 * 5_000_000
    assert data[-8:] == (4_999_999).to_bytes(8, "little")


def test_early_errors_have_their_status_within_the_buffer(server: Server) -> None:
    sql = "SELECT throwIf(number = 1000000), number FROM numbers(2000000)"
    assert server.refusal(sql, buffer_size="50000000")[:2] == (500, 395)


def test_a_second_query_in_a_session_is_refused_at_once(server: Server) -> None:
    for first in ("SELECT sleep(2)", "SET max_threads = 1"):
        server.text(first.replace("sleep(2)", "1"), session_id="busy")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(server.text, "SELECT sleep(2)", session_id="busy")
            deadline = time.monotonic() + 30
            while server.text("SELECT count() FROM system.processes") != "2\n":
                assert time.monotonic() < deadline
                assert not running.done()
            status, code, text = server.refusal("SELECT 1", session_id="busy")
            assert not running.done()
            assert (status, code) == (500, 373)
            assert "SESSION_IS_LOCKED" in text
            assert server.text("SELECT 1", session_id="another") == "1\n"
            assert server.text("SELECT 1") == "1\n"
            assert running.result() == "0\n"
        assert server.text("SELECT 1", session_id="busy") == "1\n"


def test_one_after_the_other_a_session_is_never_found_locked(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for at in range(150):
        sql = ("SET max_threads = 1", "SELECT 1", "SELECT number FROM numbers(300000)")[at % 3]
        connection.request("POST", "/?session_id=quick", sql)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        response.read()
    connection.close()


ROWS = [(1, "a"), (2, "b")]


def arrow() -> pa.Table:
    return pa.table({"a": pa.array([1, 2], pa.uint32()), "s": ["a", "b"]})


def arrow_file(stream: bool) -> bytes:
    sink = io.BytesIO()
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(sink, arrow().schema) as writer:
        writer.write_table(arrow())
    return sink.getvalue()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(arrow(), sink)
    return sink.getvalue()


BINARY = b"".join(a.to_bytes(4, "little") + b"\x01" + s.encode() for a, s in ROWS)
INPUTS = {
    "Values": b"(1, 'a'), (2, 'b')",
    "VALUES": b"(1, 'a'), (2, 'b')",
    "CSV": b'1,"a"\n2,"b"\n',
    "CSVWithNames": b'"a","s"\n1,"a"\n2,"b"\n',
    "TabSeparated": b"1\ta\n2\tb\n",
    "TSV": b"1\ta\n2\tb",
    "TSVWithNames": b"a\ts\n1\ta\n2\tb\n",
    "JSONEachRow": b'{"a": 1, "s": "a"}\n{"a": 2, "s": "b"}\n',
    "JSONCompactEachRow": b'[1, "a"]\n[2, "b"]\n',
    "TSKV": b"a=1\ts=a\na=2\ts=b\n",
    "RowBinary": BINARY,
    "Arrow": arrow_file(stream=False),
    "ArrowStream": arrow_file(stream=True),
    "Parquet": parquet(),
}


@pytest.mark.parametrize("form", INPUTS)
def test_an_insert_is_split_wherever_its_client_likes(
    server: Server, table: str, form: str
) -> None:
    data = INPUTS[form]
    head = f"INSERT INTO {table} (a, s) FORMAT {form}"
    places = [
        (head, data),
        (f"{head}\n", data),
        (f"{head} ;", data),
        ("", head.encode() + b"\n" + data),
    ]
    places += [(f"INSERT INTO {table} (a, s) FORMAT", f"{form}\n".encode() + data)]
    places += [(f"INSERT INTO {table}", f"(a, s) FORMAT {form}\n".encode() + data)]
    places += [(f"INSERT INTO {table} (a, s) SETTINGS async_insert = 0 FORMAT {form}", data)]
    for query, body in places:
        server.post(body, {}, **({"query": query} if query else {})).close()
        assert server.text(f"SELECT a, s FROM {table} ORDER BY a") == "1\ta\n2\tb\n", (query, body)
        server.text(f"TRUNCATE TABLE {table}")


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("INSERT INTO t VALUES", "(1, 'a'), (2, 'b')"),
        ("INSERT INTO t", "VALUES (1, 'a'), (2, 'b')"),
        ("INSERT INTO t VALUES (1, 'a'),", "(2, 'b')"),
        ("INSERT INTO t FORMAT Values (1, 'a'),", "(2, 'b')"),
        ("INSERT INTO t VALUES (1,", "'a'), (2, 'b')"),
        ("INSERT INTO t FORMAT TSV 1\ta", "2\tb"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", ""),
        ('INSERT INTO t FORMAT JSONEachRow {"a": 1, "s": "a"}', '{"a": 2, "s": "b"}'),
    ],
)
def test_data_may_begin_in_the_query(server: Server, table: str, query: str, body: str) -> None:
    server.post(body.encode(), {}, query=query).close()
    assert server.text(f"SELECT a, s FROM {table} ORDER BY a") == "1\ta\n2\tb\n"


def get(server: Server, path: str) -> tuple[int, str]:
    with urllib.request.urlopen(f"{server.url}{path}", timeout=30) as response:
        return response.status, response.read().decode()


def test_health_checks(server: Server) -> None:
    for path in ("/", "", "/ping", "/replicas_status"):
        assert get(server, path) == (200, "Ok.\n")
        head = urllib.request.Request(f"{server.url}{path}", method="HEAD")
        with urllib.request.urlopen(head, timeout=30) as response:
            assert response.read() == b""


def test_check_table(server: Server, table: str) -> None:
    server.text(f"INSERT INTO {table} VALUES (1, 'a')")
    for sql in (f"CHECK TABLE {table}", f"CHECK TABLE headrace.{table} FORMAT TSV"):
        assert server.text(sql, check_query_single_value_result="1") == "1\n"
    assert server.text(f"CHECK TABLE {table}").split() == ["all_1_1_0", "1"]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", 62),
        ("", 62),
        ("SELECT * FROM nowhere", 60),
        ("SELECT throwIf(1)", 395),
        ("SELECT 1 INTO OUTFILE 'x'", 497),
        ("INSERT INTO nowhere VALUES (1)", 60),
    ],
)
def test_errors_end_with_the_version_and_carry_the_headers(
    server: Server, sql: str, code: int
) -> None:
    version = server.text("SELECT version()").strip()
    with pytest.raises(urllib.error.HTTPError) as caught:
        server.post(sql.encode(), {}, query_id="q-7")
    with caught.value as error:
        text = error.read().decode()
        assert text.endswith(f" (version {version} (official build))\n")
        assert error.headers["X-ClickHouse-Exception-Code"] == str(code)
        assert error.headers["X-ClickHouse-Server-Display-Name"] == "headrace"
        assert error.headers["X-ClickHouse-Query-Id"] == "q-7"
        assert json.loads(error.headers["X-ClickHouse-Summary"])["read_rows"] == "0"
        assert error.headers["X-ClickHouse-Timezone"]


def test_errors_before_the_query_do_too(server: Server) -> None:
    status, code, text = server.refusal("SELECT 1", user="nobody")
    assert (status, code) == (403, 516)
    assert re.search(r"\(version [\d.]+ \(official build\)\)\n$", text)


def test_answers_carry_the_headers(server: Server) -> None:
    with server.post(b"SELECT 1 FORMAT CSV", {}, query_id="q-8") as response:
        assert response.headers["X-ClickHouse-Query-Id"] == "q-8"
        assert response.headers["X-ClickHouse-Format"] == "CSV"
        assert response.headers["X-ClickHouse-Timezone"]
        assert response.headers["X-ClickHouse-Server-Display-Name"] == "headrace"
        assert json.loads(response.headers["X-ClickHouse-Summary"])["result_rows"] == "1"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8123", "Origin": "http://evil.example:8123"},
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/?query=SELECT+1", "/ping", "/"])
def test_a_web_page_reads_nothing(server: Server, headers: dict[str, str], path: str) -> None:
    asked = urllib.request.Request(f"{server.url}{path}", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked, timeout=30)
    with caught.value as error:
        assert error.code == 403
        assert error.headers["X-ClickHouse-Exception-Code"] == "497"


def test_a_page_of_another_port_may_not_write(server: Server) -> None:
    for headers in ({"Origin": "http://localhost:3000"}, {"Sec-Fetch-Site": "same-site"}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            server.post(b"SELECT 1", headers)
        with caught.value as error:
            assert error.code == 403
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    with server.post(b"SELECT 1", own) as response:
        assert response.read() == b"1\n"
