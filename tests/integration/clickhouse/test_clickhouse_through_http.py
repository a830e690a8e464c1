"""The embedded server as a real process, through plain HTTP."""

from __future__ import annotations

import gzip
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import lz4.frame
import pytest

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.embedded.clickhouse import native
from tests.integration.clickhouse.server_process import Server
from tests.support.waiting import wait_until


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
    assert server.refusal(f"SELECT file('{target}')")[1] == 497
    assert server.refusal("SELECT file({f:String})", param_f=str(target))[1] == 497
    assert server.refusal(f"INSERT INTO {table} (b) SELECT file('{target}')")[1] == 497
    for call in (f"file('{target}')", f"file(assumeNotNull('{target}'))"):
        assert server.refusal(f"INSERT INTO {table} (b) VALUES ({call})")[1] == 497
        quoted = call.replace("'", "\\'")
        assert server.refusal(f"SELECT * FROM format(Values, 'x String', '({quoted})')")[1] == 497
        of_result, of_tables = f"'{quoted}'", f"{{'t': '{quoted}'}}"
        for setting in (f"result_filter = {of_result}", f"table_filters = {of_tables}"):
            refused = server.refusal(f"SELECT 1 SETTINGS additional_{setting}")
            assert refused[1] == 452  # it is not to be changed
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
        wait_until(lambda: server.text(running) == "1\n", "the statement to run")
    wait_until(lambda: server.text(running) == "0\n", "the statement to be cancelled")


def test_an_insert_whose_client_left_stores_nothing(server: Server, table: str) -> None:
    query = urlencode({"query": f"INSERT INTO {table} FORMAT TSV"})
    with socket.create_connection(("127.0.0.1", server.port)) as gone:
        head = f"POST /?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n"
        gone.sendall(head.encode() + b"1\tx\n" * 1_000_000)
    inserting = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO t%'"
    wait_until(lambda: server.text(inserting) == "0\n", "the insert to end")
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
