"""Stands between the workers and ClickHouse: inserts may land late, even when their sender is dead.

Each request is read whole and passed on by a thread that nothing of the worker's can stop; while
`delay_s` is set an insert waits so long before that.
"""

import http.client
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from headrace.infra.embedded.ports import LOOPBACK, free_port

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
_TIMEOUT_S = 300.0


class SlowTables:
    """An HTTP proxy on loopback, in a thread of this process while the block lasts."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.delay_s = 0.0
        self.delayed = 0
        """Inserts that came late so far."""
        self.orphans = 0
        """Of them those whose sender was gone when the answer was there."""
        self.url = f"http://{LOOPBACK}:{(port := free_port())}"
        self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(self))
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        """Start."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


def _handler(tables: SlowTables) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def log_message(self, format: str, *_: object) -> None:  # the base's name
            pass

        def _pass_on(self) -> None:
            body = self._body()
            late = tables.delay_s and _inserts(self.path, body)
            if late:
                tables.delayed += 1
                time.sleep(tables.delay_s)
            try:
                status, headers, answer = self._ask(body)
            except OSError:  # as the engine that is away would have it
                self.close_connection = True
                return
            try:
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except OSError:
                tables.orphans += bool(late)
                self.close_connection = True

        def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(tables.upstream, timeout=_TIMEOUT_S)
            with suppress(http.client.HTTPException):
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
                connection.request(self.command, self.path, body=body or None, headers=headers)
                response = connection.getresponse()
                try:
                    return response.status, response.getheaders(), response.read()
                finally:
                    connection.close()
            raise ConnectionResetError("the engine's answer is no HTTP")

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

    return Handler


def _inserts(path: str, body: bytes) -> bool:
    asked = parse_qs(urlsplit(path).query).get("query", [""])[0].encode() or body
    return asked[:200].lstrip().upper().startswith(b"INSERT")
