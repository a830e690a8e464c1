"""The life of an ASGI application that closes something when its server stops."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def live(receive: Receive, send: Send, close: Callable[[], Awaitable[None]]) -> None:
    """Answer the `lifespan` scope (ASGI specification); `close` is awaited at the shutdown."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await close()
    await send({"type": "lifespan.shutdown.complete"})
