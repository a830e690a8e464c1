"""What tells pages that tables changed: one watcher a process, and only while somebody looks."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.errors import StatementFailed
from headrace.infra.console.ask import ask

logger = logging.getLogger(__name__)

EVERY_S = 0.5
STREAMS = 200
_BEAT_S = 15.0


class TooManyStreams(Exception):
    """More pages look than the console serves at once."""


class Watcher:
    """Asks for the newest block of each table, and tells every stream what grew.

    Block numbers grow with inserts and stay with merges; they are metadata, so nothing is scanned.
    """

    def __init__(self, client: ClickHouse, every_s: float = EVERY_S) -> None:
        self._client = client
        self._every_s = every_s
        self._streams: set[asyncio.Queue[str | None]] = set()
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    @property
    def streams(self) -> int:
        """How many pages look now."""
        return len(self._streams)

    async def follow(self) -> AsyncIterator[str]:
        """Server-sent events: `changed` with names of tables, `away` with what ClickHouse said.

        Raises:
            TooManyStreams: `STREAMS` are open.
        """
        if len(self._streams) >= STREAMS:
            raise TooManyStreams(f"{STREAMS} pages look already")
        queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=16)
        self._streams.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            yield "retry: 1000\n\n"
            while not self._ended:
                try:
                    event = await asyncio.wait_for(queue.get(), _BEAT_S)
                    if event is not None:
                        yield event
                except TimeoutError:
                    yield ": still here\n\n"  # a proxy between would take silence for the end
        finally:
            self._streams.discard(queue)
            if not self._streams and self._task is not None:
                self._task.cancel()
                self._task = None

    def end(self) -> None:
        """End every stream: the process is to stop."""
        self._ended = True
        self._put(None)

    async def _watch(self) -> None:
        before: Mapping[str, int] | None = None
        away = False
        while True:
            try:
                now = await asyncio.to_thread(self._newest)
            except StatementFailed as error:
                if not away:
                    logger.warning("ClickHouse does not answer the watcher: %s", error.said)
                    self._tell("away", error.said)
                away = True
            else:
                changed = [t for t, block in now.items() if before and before.get(t) != block]
                if away or changed:
                    self._tell("changed", sorted(changed))
                before, away = now, False
            await asyncio.sleep(self._every_s)

    def _newest(self) -> dict[str, int]:
        rows = ask(self._client, "blocks").rows
        return {str(row["table"]): int(str(row["newest"])) for row in rows}

    def _tell(self, event: str, data: object) -> None:
        self._put(f"event: {event}\ndata: {json.dumps(data)}\n\n")

    def _put(self, event: str | None) -> None:
        for queue in self._streams:
            with suppress(asyncio.QueueFull):  # it has enough to know that it must look again
                queue.put_nowait(event)
