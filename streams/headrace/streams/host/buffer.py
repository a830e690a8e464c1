"""Events of a stream on their way into takes.

`noack_take` of Faust's wakes up once in each of its windows, whether anything came or not, and lets
every first record wait for the whole of one. Here a take begins when something is there.
"""

import asyncio
from collections.abc import AsyncIterable
from typing import Any


class Buffer:
    """Holds up to `most` events; whoever feeds it waits then. Acknowledges nothing."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._events: list[Any] = []
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()

    async def feed(self, events: AsyncIterable[Any]) -> None:
        """Put in all that comes."""
        async for event in events:
            self._events.append(event)
            self._some.set()
            if len(self._events) >= self._most:
                self._room.clear()
                self._full.set()
                await self._room.wait()

    async def take(self, within_s: float) -> list[Any]:
        """What has come `within_s` seconds after the first of it, or when it is full."""
        await self._some.wait()
        try:
            async with asyncio.timeout(within_s):
                await self._full.wait()
        except TimeoutError:
            pass
        taken, self._events = self._events, []
        self._some.clear()
        self._full.clear()
        self._room.set()
        return taken
