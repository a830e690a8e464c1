"""An answer that goes out while it grows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""A proxy in between passes each event on at once."""


class EventStream(Response):
    """Server-sent events, until they end or the client leaves.

    Starlette's own streaming response cancels the generator when the client leaves; a call has to
    leave its span then, which takes time that a cancelled generator does not have.
    """

    media_type = "text/event-stream"

    def __init__(
        self, pieces: AsyncIterator[bytes], abandon: Callable[[], Awaitable[None]]
    ) -> None:
        """pieces: what goes out; abandon: awaited instead of the rest where the client left."""
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self.held = ExitStack()
        """Closed when the stream has ended."""
        self.failed = False
        """Whether it ended with an error."""
        self.copy: list[bytes] | None = None
        """What was sent, where somebody wants it."""
        self.is_whole = False
        """Whether all of it was sent, and is no error."""
        self._pieces = pieces
        self._abandon = abandon

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.ensure_future(disconnected(receive))
        with self.held:
            try:
                await send(
                    {
                        "type": "http.response.start",
                        "status": self.status_code,
                        "headers": self.raw_headers,
                    }
                )
                if await self._send_pieces(send, leaving):
                    self.is_whole = not self.failed
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                else:
                    await self._abandon()
            finally:
                leaving.cancel()
                with suppress(asyncio.CancelledError):
                    await leaving

    async def _send_pieces(self, send: Send, leaving: "asyncio.Future[None]") -> bool:
        """Whether the client had all of them."""
        while True:
            piece = asyncio.ensure_future(self._next())
            both: set[asyncio.Future[Any]] = {piece, leaving}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not piece.done():
                piece.cancel()
                with suppress(asyncio.CancelledError):
                    await piece
                return False
            told = piece.result()
            if told is None:
                return True
            if self.copy is not None:
                self.copy.append(told)
            try:
                await send({"type": "http.response.body", "body": told, "more_body": True})
            except OSError:  # the client left, as servers of ASGI 2.4 say it
                return False

    async def _next(self) -> bytes | None:
        return await anext(self._pieces, None)


async def disconnected(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
