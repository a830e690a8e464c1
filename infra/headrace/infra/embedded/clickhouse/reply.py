"""The answer to one request: headers, encoding, whole or in chunks."""

import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from headrace.infra.embedded.clickhouse import codings, formats
from headrace.infra.embedded.clickhouse.engine import Progress
from headrace.infra.embedded.clickhouse.errors import QueryError
from headrace.infra.embedded.clickhouse.request import Request

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SERVER_NAME = "headrace"


class Reply:
    """Sends one answer. Before `start` an error can still have its own status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._headers: list[tuple[bytes, bytes]] = []
        self._encoder: codings.Encoder = codings.Plain()
        self._tag = ""
        self.started = False

    def describe(self, request: Request, timezone: str) -> None:
        """Sets the headers and the encoding that the request asks for."""
        self._header("x-clickhouse-server-display-name", SERVER_NAME)
        self._header("x-clickhouse-query-id", request.query_id)
        self._header("x-clickhouse-timezone", timezone)
        if request.flag("compress"):
            self._encoder = codings.NativeEncoder()
        elif request.flag("enable_http_compression"):
            coding = codings.choose(request.headers.get("accept-encoding", ""))
            if coding is not None:
                self._encoder = codings.encoder(coding)
                self._header("content-encoding", coding)

    async def whole(self, data: bytes, form: str | None, progress: Progress) -> None:
        """Sends all at once, with its length and summary."""
        if form is not None:
            self._form(form)
        self._header("x-clickhouse-summary", summary(progress))
        data = self._encoder.feed(data) + self._encoder.finish() if data else b""
        self._header("content-length", str(len(data)))
        await self._begin(200)
        await self._send({"type": "http.response.body", "body": data})

    async def start(self, form: str) -> None:
        """Begins a chunked answer."""
        self._form(form)
        self._header("x-clickhouse-summary", summary(Progress()))
        self._tag = secrets.token_hex(8)
        self._header("x-clickhouse-exception-tag", self._tag)
        await self._begin(200)

    async def chunk(self, data: bytes) -> None:
        if data := self._encoder.feed(data):
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": self._encoder.finish()})

    async def fail(self, error: QueryError, *, close: bool = False) -> None:
        """Tells the error: by status before the start, by the exception block after it.

        The chunked body ends normally even then: cutting it would hide the text from clients.
        """
        text = str(error).encode("utf-8", "replace")
        if self.started:
            tag = self._tag.encode()
            size = str(len(text) + 1).encode()
            await self.chunk(
                b"\r\n__exception__\r\n%b\r\n%b\n%b %b\r\n__exception__\r\n"
                % (tag, text, size, tag)
            )
            await self.end()
            return
        text += b"\n"
        self._headers = [pair for pair in self._headers if pair[0] != b"content-encoding"]
        self._header("x-clickhouse-exception-code", str(error.code))
        self._header("content-type", "text/plain; charset=UTF-8")
        self._header("content-length", str(len(text)))
        if close:
            self._header("connection", "close")
        await self._begin(error.status)
        await self._send({"type": "http.response.body", "body": text})

    async def plain(self, status: int, text: str) -> None:
        """A short text that is no statement's answer."""
        self._header("content-type", "text/html; charset=UTF-8")
        self._header("content-length", str(len(text)))
        await self._begin(status)
        await self._send({"type": "http.response.body", "body": text.encode()})

    def _form(self, form: str) -> None:
        self._header("x-clickhouse-format", form)
        self._header("content-type", formats.content_type(form))

    def _header(self, name: str, value: str) -> None:
        # A client chooses its query id: it must not add headers of its own.
        clean = value.replace("\r", " ").replace("\n", " ")
        self._headers.append((name.encode(), clean.encode("latin-1", "replace")))

    async def _begin(self, status: int) -> None:
        self.started = True
        await self._send(
            {"type": "http.response.start", "status": status, "headers": self._headers}
        )


def summary(progress: Progress) -> str:
    """X-ClickHouse-Summary; figures are strings, as ClickHouse sends them."""
    figures = {
        "read_rows": progress.read_rows,
        "read_bytes": progress.read_bytes,
        "written_rows": progress.written_rows,
        "written_bytes": progress.written_bytes,
        "total_rows_to_read": 0,
        "result_rows": progress.result_rows or progress.written_rows,
        "result_bytes": 0,
        "elapsed_ns": progress.elapsed_ns,
    }
    return json.dumps({name: str(value) for name, value in figures.items()}, separators=(",", ":"))
