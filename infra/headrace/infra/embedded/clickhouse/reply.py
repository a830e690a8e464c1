"""The answer to one request: headers, encoding, whole or in chunks."""

import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from headrace.infra.embedded.clickhouse import codings, formats
from headrace.infra.embedded.clickhouse.engine import Progress
from headrace.infra.embedded.clickhouse.errors import CutShort, QueryError
from headrace.infra.embedded.clickhouse.request import Request

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SERVER_NAME = "headrace"
_IN_MEMORY = 16 << 20
_PIECE = 1 << 20


class Reply:
    """Sends one answer. Before `start` an error can still have its own status.

    The end of an answer is held until `release`: a client that has it may send its session's next
    statement at once.

    Args:
        send: ASGI's.
        version: the engine's, which drivers read at the end of an error's text.
    """

    def __init__(self, send: Send, version: str = "") -> None:
        self._send = send
        self._version = version
        self._last: Iterable[MutableMapping[str, Any]] = ()
        self._held: IO[bytes] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._header("x-clickhouse-server-display-name", SERVER_NAME)
        self._encoder: codings.Encoder = codings.Plain()
        self._tag = ""
        self.started = False

    def describe(self, request: Request, timezone: str) -> None:
        """Sets the headers and the encoding that the request asks for."""
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
        self._last = [self._head(200), {"type": "http.response.body", "body": data}]

    async def start(self, form: str) -> None:
        """Begins a chunked answer."""
        self._form(form)
        self._header("x-clickhouse-summary", summary(Progress()))
        self._tag = secrets.token_hex(8)
        self._header("x-clickhouse-exception-tag", self._tag)
        self.started = True
        await self._send(self._head(200))

    async def chunk(self, data: bytes) -> None:
        if data := self._encoder.feed(data):
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def end(self) -> None:
        """Ends a chunked answer."""
        self._last = [{"type": "http.response.body", "body": self._encoder.finish()}]

    async def hold(self, data: bytes) -> None:
        """Keeps a piece of the answer until `end_held`; on disk, once it is large."""
        if self._held is None:
            self._held = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (closed by `close`)
        self._held.write(self._encoder.feed(data))

    def end_held(self, form: str, progress: Progress) -> None:
        """Makes what was held the whole answer."""
        assert self._held is not None
        self._held.write(self._encoder.finish())
        self._form(form)
        self._header("x-clickhouse-summary", summary(progress))
        self._header("content-length", str(self._held.tell()))
        self._last = self._from_held(self._held)

    def _from_held(self, held: IO[bytes]) -> Iterator[MutableMapping[str, Any]]:
        yield self._head(200)
        held.seek(0)
        while piece := held.read(_PIECE):
            yield {"type": "http.response.body", "body": piece, "more_body": True}
        yield {"type": "http.response.body", "body": b""}

    def close(self) -> None:
        """Lets go of what was held."""
        if self._held is not None:
            self._held.close()

    async def release(self) -> None:
        """Sends what `whole`, `end` or `end_held` left."""
        for message in self._last:
            await self._send(message)

    async def fail(self, error: QueryError, *, close: bool = False) -> None:
        """Tells the error by its status, or within a body that has begun.

        Raises:
            CutShort: the body has begun. It carries the exception in ClickHouse's block, and must
                not end as HTTP wants it, or the client takes it for whole.
        """
        text = f"{error} (version {self._version} (official build))".encode("utf-8", "replace")
        if self.started:
            await self._send_exception(text)
            raise CutShort(str(error))
        text += b"\n"
        self._headers = [pair for pair in self._headers if pair[0] != b"content-encoding"]
        self._header("x-clickhouse-exception-code", str(error.code))
        self._header("x-clickhouse-summary", summary(Progress()))
        self._header("content-type", "text/plain; charset=UTF-8")
        self._header("content-length", str(len(text)))
        if close:
            self._header("connection", "close")
        await self._send(self._head(error.status))
        await self._send({"type": "http.response.body", "body": text})

    async def _send_exception(self, text: bytes) -> None:
        tag = self._tag.encode()
        size = str(len(text) + 1).encode()
        block = b"\r\n__exception__\r\n%b\r\n%b\n%b %b\r\n__exception__\r\n" % (
            tag,
            text,
            size,
            tag,
        )
        # All that the encoder holds goes out, so that the text can be read.
        data = self._encoder.feed(block) + self._encoder.finish()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def plain(self, status: int, text: str) -> None:
        """A short text that is no statement's answer."""
        self._header("content-type", "text/html; charset=UTF-8")
        self._header("content-length", str(len(text)))
        await self._send(self._head(status))
        await self._send({"type": "http.response.body", "body": text.encode()})

    def _form(self, form: str) -> None:
        self._header("x-clickhouse-format", form)
        self._header("content-type", formats.content_type(form))

    def _header(self, name: str, value: str) -> None:
        # A client chooses its query id: it must not add headers of its own.
        clean = value.replace("\r", " ").replace("\n", " ")
        self._headers.append((name.encode(), clean.encode("latin-1", "replace")))

    def _head(self, status: int) -> MutableMapping[str, Any]:
        return {"type": "http.response.start", "status": status, "headers": self._headers}


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
