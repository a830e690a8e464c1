"""Tables behind the stream: what takes owe is stored in large blocks, and acknowledged then."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from headrace.streams.host.config import HostConfig
from headrace.streams.stage import Stage, Storing

Acknowledgement = Callable[[], Awaitable[object]]
"""Of one record."""
_ROOM = 4
"""Takes wait when so many times `store_bytes` are owed."""


class Behind:
    """Acknowledges takes in order when what they owe is stored, while further takes go on.

    A take of a stage that owes nothing is acknowledged at once.
    """

    def __init__(self, stage: Stage, config: HostConfig) -> None:
        self._stage = stage if isinstance(stage, Storing) else None
        self._config = config
        self._told: list[Acknowledgement] = []
        self._some = asyncio.Event()
        self._much = asyncio.Event()
        self._room = asyncio.Event()

    async def add(self, take: Sequence[Acknowledgement]) -> None:
        """A take was told. Returns when there is room for another: what is owed is bounded."""
        if self._stage is None:
            await _acknowledge(take)
            return
        self._told += take
        self._some.set()
        if self._stage.owed_bytes >= self._config.store_bytes:
            self._much.set()
        while self._stage.owed_bytes >= _ROOM * self._config.store_bytes:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Store and acknowledge, for ever (rule: rows before the acknowledgement)."""
        if self._stage is None:
            return
        while True:
            await self._some.wait()
            await self._pause()
            told, self._told = self._told, []
            self._some.clear()
            self._much.clear()
            await self._stage.store()
            await _acknowledge(told)
            self._room.set()

    async def _pause(self) -> None:
        """Let takes come together, but not for long and not too much."""
        try:
            async with asyncio.timeout(self._config.store_ms / 1000):
                await self._much.wait()
        except TimeoutError:
            pass


async def _acknowledge(records: Sequence[Acknowledgement]) -> None:
    for record in records:
        await record()
