"""The front of the registry: what passes, what does not, and that nothing is changed on the way."""

import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import uvicorn

from headrace.connectors.loopback import is_loopback
from headrace.infra.embedded import ports
from headrace.infra.embedded.registry import java
from headrace.infra.embedded.registry.front import MAX_BODY_BYTES, Front
from tests.support.waiting import wait_until

SEEN: list[tuple[str, str, dict[str, str], bytes]] = []


class Registry(BaseHTTPRequestHandler):
    """Repeats what it was asked."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        SEEN.append((self.command, self.path, dict(self.headers), body))
        content = gzip.compress(body) if "gzip" in self.path else body
        self.send_response(422 if "bad" in self.path else 200)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        if "gzip" in self.path:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as behind:
        threading.Thread(target=behind.serve_forever, args=(0.01,), daemon=True).start()
        with serving(f"http://127.0.0.1:{behind.server_address[1]}") as port:
            yield port
        behind.shutdown()


class serving:
    """A front of the registry at `url`, on a port."""

    def __init__(self, url: str) -> None:
        self.port = ports.free_port()
        config = uvicorn.Config(
            Front(url), port=self.port, lifespan="on", log_config=None, loop="asyncio"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> int:
        self.thread.start()
        wait_until(lambda: self.server.started, "the front to listen", 20)
        return self.port

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


def ask(
    port: int, method: str, path: str, body: bytes = b"", /, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_requests_and_answers_pass_as_they_are(port: int, method: str) -> None:
    path = "/apis/ccompat/v7/subjects/a%2Fb-value/versions?normalize=true&x=%C3%BC"
    status, headers, content = ask(port, method, path, b'{"a": 1}', Accept="x/y")
    assert (status, content) == (200, b'{"a": 1}')
    assert headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    asked, seen_path, seen, body = SEEN[-1]
    assert (asked, seen_path, body) == (method, path, b'{"a": 1}')
    assert seen["accept"] == "x/y"
    # What http.client sends, and nothing of the front's own.
    assert {name.lower() for name in seen} <= {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "host",
    }


def test_encodings_statuses_and_heads_too(port: int) -> None:
    status, headers, content = ask(port, "POST", "/gzip", b"long" * 100)
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(content) == b"long" * 100
    assert ask(port, "POST", "/bad")[0] == 422
    status, _, content = ask(port, "HEAD", "/subjects")
    assert (status, content) == (200, b"")


HOSTILE = [
    {"Host": "evil.example:8081", "Origin": "http://evil.example:8081"},
    {"Host": "evil.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec_Fetch_Site": "cross-site"},
]


@pytest.mark.parametrize("headers", HOSTILE, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD", "OPTIONS"])
def test_web_pages_do_not_pass(port: int, method: str, headers: dict[str, str]) -> None:
    before = len(SEEN)
    status, _, content = ask(port, method, "/subjects/x", b"", **headers)
    assert status == 403
    assert len(SEEN) == before
    if method != "HEAD":
        assert json.loads(content)["error_code"] == 40301


def test_a_page_of_another_port_may_read_and_not_write(port: int) -> None:
    origin = {"Origin": "http://localhost:3000"}
    assert ask(port, "GET", "/subjects", b"", **origin)[0] == 200
    assert "origin" not in {name.lower() for name in SEEN[-1][2]}
    assert ask(port, "DELETE", "/subjects/x", b"", **origin)[0] == 403


def test_a_body_beyond_the_limit_is_refused(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.putrequest("POST", "/subjects/x/versions")
        connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
        connection.endheaders()
        connection.send(bytes(MAX_BODY_BYTES + 1))
        assert connection.getresponse().status == 413


def test_until_the_registry_answers_it_is_not_ready() -> None:
    with serving(f"http://127.0.0.1:{ports.free_port()}") as port:
        status, _, content = ask(port, "GET", "/subjects")
        assert status == 503
        assert "does not answer" in json.loads(content)["message"]


def test_the_registry_itself_listens_where_nobody_looks() -> None:
    first, second = java.hidden_address(), java.hidden_address()
    assert first != second
    assert is_loopback(first[0])
