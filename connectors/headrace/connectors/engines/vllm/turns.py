"""Who may go on while weights change: requests wait for a change, and a change for pins."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Order between requests and changes of the weights.

    One set of weights serves all requests, and changes under those that run. A request that pins a
    version must not see that: a change waits until no such request runs, and holds new ones back.
    """

    def __init__(self, most: int) -> None:
        """most: requests that run together; further ones wait."""
        self.running = 0
        self.waiting = 0
        self._places = asyncio.Semaphore(most)
        self._change = asyncio.Lock()
        self._open = asyncio.Event()
        self._pins_open = asyncio.Event()
        self._unpinned = asyncio.Event()
        self._pins = 0
        for event in (self._open, self._pins_open, self._unpinned):
            event.set()

    @asynccontextmanager
    async def request(self, *, pinned: bool) -> AsyncIterator[None]:
        """A request's turn."""
        self.waiting += 1
        try:
            await self._places.acquire()
        except BaseException:
            self.waiting -= 1
            raise
        try:
            try:
                await self._enter(pinned)
            finally:
                self.waiting -= 1
            self.running += 1
            try:
                yield
            finally:
                self.running -= 1
                if pinned:
                    self._pins -= 1
                    if not self._pins:
                        self._unpinned.set()
        finally:
            self._places.release()

    @asynccontextmanager
    async def change(self) -> AsyncIterator[None]:
        """A change's turn: no pinned request runs, and none begins."""
        async with self._change:
            self._pins_open.clear()
            try:
                await self._unpinned.wait()
                self._open.clear()
                yield
            finally:
                self._open.set()
                self._pins_open.set()

    async def _enter(self, pinned: bool) -> None:
        gates = (self._open, self._pins_open) if pinned else (self._open,)
        while not all(gate.is_set() for gate in gates):
            for gate in gates:
                await gate.wait()
        if pinned:
            self._pins += 1
            self._unpinned.clear()
