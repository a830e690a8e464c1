"""The body of a request: bounded, decoded, read in pieces."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from headrace.infra.embedded.clickhouse.codings import BodyDecoder, Plain
from headrace.infra.embedded.clickhouse.errors import (
    TOO_MANY_BYTES,
    Disconnected,
    QueryError,
)

_DRAIN_BYTES = 64 << 20

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Body:
    """Reads the decoded body; not for two tasks at a time.

    Args:
        receive: ASGI's.
        limit: the most decoded bytes that are accepted.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._decoder: BodyDecoder = Plain()
        self._held = b""
        self._seen = 0
        self._ended = False

    def decode_with(self, decoder: BodyDecoder) -> None:
        """Sets the decoder, before the first read."""
        self._decoder = decoder

    async def read(self, size: int) -> bytes:
        """At least `size` decoded bytes, fewer only at the end, b"" after it.

        Raises:
            QueryError: 307 past the limit, 271 for a body that does not decode.
            Disconnected: the client left before the end.
        """
        pieces, have = [self._held], len(self._held)
        self._held = b""
        while have < size and not self._ended:
            piece = await self._next()
            pieces.append(piece)
            have += len(piece)
        return b"".join(pieces)

    def unread(self, data: bytes) -> None:
        """Puts decoded bytes back in front."""
        self._held = data + self._held

    async def whole(self, limit: int) -> bytes:
        """All that is left, at most `limit` bytes (else QueryError 307)."""
        data = await self.read(limit + 1)
        if len(data) > limit:
            raise _too_large(limit)
        return data

    async def drain(self) -> bool:
        """Throws the rest away, so that the client reads its answer instead of a broken pipe.

        Returns whether the body ended within 64 MiB; else the connection is best closed.
        """
        self._decoder = Plain()
        self._limit = self._seen + _DRAIN_BYTES
        try:
            while not self._ended:
                await self._next()
        except QueryError:
            return False
        return True

    async def disconnect(self) -> None:
        """Returns when the client has gone; only after the body's end."""
        while (message := await self._receive())["type"] != "http.disconnect":
            self._ended = not message.get("more_body", False)
        self._ended = True

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._ended = True
            raise Disconnected("the client left before the end of its request")
        raw = message.get("body", b"")
        self._ended = not message.get("more_body", False)
        data = self._decoder.feed(raw)
        if self._ended:
            data += self._decoder.finish()
        self._seen += len(data)
        if self._seen > self._limit:
            raise _too_large(self._limit)
        # A fast sender would otherwise keep the loop to itself.
        await asyncio.sleep(0)
        return data


def _too_large(limit: int) -> QueryError:
    return QueryError(
        TOO_MANY_BYTES,
        f"The request has more than {limit} bytes; send less at a time or raise the server's "
        "limit. (TOO_MANY_BYTES)",
    )
