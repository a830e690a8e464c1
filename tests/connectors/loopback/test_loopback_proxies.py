"""With a dead proxy in the environment, what is on this machine answers all the same."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import openai
import pytest
import requests
from clickhouse_connect.driver.httputil import check_env_proxy
from httpx2 import HTTPError

from headrace.connectors.clickhouse import (
    ClickHouse,
    ClickHouseConfig,
    ClickHouseRejected,
    ClickHouseUnavailable,
)
from headrace.connectors.engines.upstream import Upstream, UpstreamConfig, UpstreamUnavailable
from headrace.connectors.kafka import Registry
from headrace.connectors.loopback import exempt, with_exemption
from headrace.infra.embedded import probe
from headrace.schemas.errors import RegistryUnavailable, UnknownSchemaId

DEAD = "127.0.0.1:9"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
PROXIES = [
    *((name, f"http://{DEAD}") for name in VARIABLES),
    ("ALL_PROXY", f"socks5h://{DEAD}"),
    ("all_proxy", f"socks5://{DEAD}"),
    ("ALL_PROXY", f"socks://{DEAD}"),  # as desktops set it, and httpx cannot read it
    ("HTTP_PROXY", f"socks5h://{DEAD}"),
]
HOSTS = ("127.0.0.1", "localhost", "127.8.9.10", "::1")


class Answers(BaseHTTPRequestHandler):
    """404 to everything, in words that a registry's and a ClickHouse's client understand."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(404)
        body = b'{"error_code": 40403, "message": "Code: 60. DB::Exception: here"}'
        self.send_header("Content-Type", "application/json")
        self.send_header("X-ClickHouse-Exception-Code", "60")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        """Be quiet."""


class Six(ThreadingHTTPServer):
    """The same on ::1."""

    address_family = socket.AF_INET6


@pytest.fixture(params=HOSTS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server on one of this machine's names."""
    host = request.param
    kind = Six if ":" in host else ThreadingHTTPServer
    try:
        server = kind(("127.0.0.1" if host == "localhost" else host, 0), Answers)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_address[1]}"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture(params=PROXIES, ids="=".join)
def dead_proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(*request.param)


@pytest.mark.usefixtures("dead_proxy")
def test_our_clients_reach_it(url: str) -> None:
    tables = ClickHouse(ClickHouseConfig(url=url))
    with pytest.raises(ClickHouseRejected):
        tables.query("SELECT 1")
    tables.close()

    registry = Registry(f"{url}/apis")
    with pytest.raises(UnknownSchemaId):
        registry.writer_schema(7)
    registry.close()

    async def forward() -> int:
        upstream = Upstream(UpstreamConfig(url=f"{url}/v1"))
        try:
            return (await upstream.post("chat/completions", {})).status
        finally:
            await upstream.close()

    assert asyncio.run(forward()) == 404
    assert probe.get(url) is None


@pytest.mark.usefixtures("dead_proxy")
def test_the_clients_that_agents_bring_reach_it(
    url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Undone with what the fixture set.
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    exempt(os.environ, url)
    # It keeps its first opener, with the proxies of then: later tests are to have their own.
    monkeypatch.setattr(urllib.request, "_opener", None)
    assert requests.get(url, timeout=20).status_code == 404
    if "[" not in url:
        assert check_env_proxy("http", url.split("/")[2].split(":")[0], 1) is None
        with pytest.raises(urllib.error.HTTPError, match="404") as answer:
            urllib.request.urlopen(url, timeout=20)
        answer.value.close()
    if "=socks://" in request.node.name:
        return  # httpx refuses to be made, for any server
    assert httpx2.get(url, timeout=20).status_code == 404
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
        pytest.raises(openai.NotFoundError),
    ):
        client.models.list()


def test_servers_elsewhere_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"http://{DEAD}")
    for name, value in with_exemption({}).items():
        monkeypatch.setenv(name, value)
    # Not reached: the tests allow no connection beyond this machine, and the proxy is on it.
    tables = ClickHouse(ClickHouseConfig(url="http://tables.example:8123"))
    with pytest.raises(ClickHouseUnavailable, match="Connection refused"):
        tables.query("SELECT 1")
    registry = Registry("http://registry.example:8081", **{"max.retries": 0})
    with pytest.raises(RegistryUnavailable, match="Connection refused"):
        registry.writer_schema(7)
    registry.close()
    with pytest.raises(HTTPError):
        httpx2.get("http://models.example/v1")


def test_a_proxy_that_cannot_be_used_is_named_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"gopher://{DEAD}")
    with pytest.raises(RegistryUnavailable, match="ALL_PROXY"):
        Registry("http://registry.example:8081")
    with pytest.raises(UpstreamUnavailable, match="ALL_PROXY"):
        Upstream(UpstreamConfig(url="http://models.example/v1"))


def test_a_socks_proxy_is_used_for_servers_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5h://{DEAD}")
    registry = Registry("http://registry.example:8081", **{"max.retries": 0})
    with suppress(UnknownSchemaId), pytest.raises(RegistryUnavailable, match="refused"):
        registry.writer_schema(7)
    registry.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "localhost,127.0.0.1,::1,127.0.0.0/8"),
        ({"NO_PROXY": "corp.example, ::1"}, "corp.example,::1,localhost,127.0.0.1,127.0.0.0/8"),
        ({"no_proxy": "a"}, "a,localhost,127.0.0.1,::1,127.0.0.0/8"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_what_was_excepted_stays_so(before: dict[str, str], after: str) -> None:
    now = with_exemption(before)
    assert now == {"NO_PROXY": after, "no_proxy": after}
    assert with_exemption(now) == now


def test_both_spellings_keep_their_own() -> None:
    now = with_exemption({"NO_PROXY": "big", "no_proxy": "small"})
    assert now["NO_PROXY"].startswith("big,")
    assert now["no_proxy"].startswith("small,")


def test_the_command_line_excepts_this_machine_for_what_it_starts() -> None:
    code = (
        "import os, sys; sys.argv = ['headrace', '--help']\n"
        "from headrace.infra.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: print(os.environ['no_proxy'])"
    )
    environment = {"PATH": "/usr/bin:/bin", "HTTP_PROXY": f"http://{DEAD}"}
    done = subprocess.run([sys.executable, "-P", "-c", code], env=environment, capture_output=True)
    assert done.stdout.split()[-1] == b"localhost,127.0.0.1,::1,127.0.0.0/8"
