"""How long a request may take."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import TypeVar

from headrace.connectors.gateway.errors import CallTimedOut, RequestTimedOut

T = TypeVar("T")


@dataclass(kw_only=True, slots=True, frozen=True)
class Deadline:
    """When a request has taken too long, by the event loop's clock."""

    at: float
    limit_s: float

    @classmethod
    def after(cls, limit_s: float) -> "Deadline":
        """From now on."""
        return cls(at=asyncio.get_running_loop().time() + limit_s, limit_s=limit_s)

    async def reading(self, work: Awaitable[T]) -> T:
        """Await what the client sends; past the deadline it is cancelled: RequestTimedOut."""
        try:
            return await self._in_time(work)
        except _Past as past:
            raise RequestTimedOut(f"the request was not sent whole {self._told}") from past

    async def answering(self, work: Awaitable[T]) -> T:
        """Await an answer; past the deadline it is cancelled and CallTimedOut raised."""
        try:
            return await self._in_time(work)
        except _Past as past:
            raise CallTimedOut(f"the answer was not whole {self._told}") from past

    async def pieces(self, growing: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """What grows piece by piece; past the deadline CallTimedOut is raised."""
        while True:
            try:
                piece = await self.answering(anext(growing))
            except StopAsyncIteration:
                return
            yield piece

    async def _in_time(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout_at(self.at) as limit:
                return await work
        except TimeoutError as error:
            if limit.expired():
                raise _Past from error
            raise

    @property
    def _told(self) -> str:
        return f"after {self.limit_s:g} s ([gateway] request_timeout_s)"


class _Past(Exception):
    """The deadline is past."""
