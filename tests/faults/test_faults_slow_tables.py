"""The proxy passes everything on unchanged, and inserts land even when nobody waits for them."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from benchmarks.faults.slow_tables import SlowTables

from tests.support.waiting import wait_until


class Upstream(BaseHTTPRequestHandler):
    """Answers with what it was sent, and remembers it."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.seen.append((self.path, body))
        self.send_response(404 if b"bad" in body else 200)
        self.send_header("X-ClickHouse-Summary", "{}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:  # the base's name
        pass


@pytest.fixture
def seen() -> Iterator[tuple[SlowTables, list[tuple[str, bytes]]]]:
    told: list[tuple[str, bytes]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Upstream,), {"seen": told}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with SlowTables(f"http://127.0.0.1:{server.server_port}") as tables:
        yield tables, told
    server.shutdown()
    server.server_close()


def post(tables: SlowTables, path: str, body: object) -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection(urlsplit(tables.url).netloc)
    try:
        connection.request("POST", path, body=body)  # type: ignore[arg-type]  # an iterator too
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("X-ClickHouse-Summary")
    finally:
        connection.close()


def test_bodies_statuses_and_headers_pass_whole_or_in_chunks(
    seen: tuple[SlowTables, list[tuple[str, bytes]]],
) -> None:
    tables, told = seen
    assert post(tables, "/?query=SELECT", b"whole") == (200, b"whole", "{}")
    assert post(tables, "/?a=1", iter([b"in ", b"chunks"])) == (200, b"in chunks", "{}")
    assert post(tables, "/", b"bad")[0] == 404
    assert told == [("/?query=SELECT", b"whole"), ("/?a=1", b"in chunks"), ("/", b"bad")]
    assert tables.delayed == 0


def test_a_late_insert_lands_though_its_sender_is_gone(
    seen: tuple[SlowTables, list[tuple[str, bytes]]],
) -> None:
    tables, told = seen
    tables.delay_s = 0.2
    connection = http.client.HTTPConnection(urlsplit(tables.url).netloc)
    connection.request("POST", "/?query=INSERT+INTO+spans", body=b"rows")
    wait_until(lambda: tables.delayed == 1, "the insert being held back")
    connection.close()
    assert post(tables, "/?query=SELECT", b"at once")[0] == 200
    wait_until(lambda: ("/?query=INSERT+INTO+spans", b"rows") in told, "the late insert")
    assert told[0] == ("/?query=SELECT", b"at once")
