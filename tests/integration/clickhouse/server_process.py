"""The embedded ClickHouse server as a process of its own."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig
from headrace.infra.embedded.ports import free_port
from tests.support.waiting import wait_until

START_S = 60


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
        module = [sys.executable, "-m", "headrace.infra.embedded.clickhouse"]
        return [*module, "--path", str(self.path), "--port", str(port or self.port), *self.options]

    def start(self) -> Server:
        with (self.path.parent / f"{self.path.name}.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        wait_until(self.answers, "the server to answer")
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
