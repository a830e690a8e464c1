"""What a stage does outside itself, retried in place until it is done.

ClickHouse or Kafka away: the same bytes again, paused and reported (`waiting`); only what
repeating cannot mend is raised.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from headrace.connectors.clickhouse import ClickHouseUnavailable
from headrace.connectors.kafka import KafkaUnavailable, Outgoing
from headrace.schemas import RegistryUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

UNAVAILABLE = (ClickHouseUnavailable, KafkaUnavailable, RegistryUnavailable)
"""What waiting mends."""


class Tables(Protocol):
    """ClickHouse, as far as a stage uses it."""

    def query_arrow(self, sql: str, parameters: dict[str, object] | None = None) -> pa.Table:
        """The result as columns."""

    def insert_arrow(self, table: str, data: pa.RecordBatch) -> int:
        """Insert one block."""


class Log(Protocol):
    """Kafka, as far as a stage writes to it."""

    def send(self, records: Sequence[Outgoing]) -> None:
        """Return when all records are acknowledged."""


class Patience:
    """Runs blocking calls off the event loop, again and again while their server is away."""

    def __init__(self, *, delay_s: float = 0.25) -> None:
        self.waiting = ""
        """What is waited for; '' for nothing."""
        self._delay_s = delay_s

    async def until_done(self, call: Callable[[], T]) -> T:
        """The call's result; raises what waiting cannot mend."""
        while True:
            try:
                result = await asyncio.to_thread(call)
            except UNAVAILABLE as error:
                if not self.waiting:
                    logger.warning("paused: %s", error)
                self.waiting = str(error)[:500]
                await asyncio.sleep(self._delay_s)
            else:
                if self.waiting:
                    logger.warning("goes on")
                self.waiting = ""
                return result


async def insert(patience: Patience, tables: Tables, table: str, rows: pa.RecordBatch) -> None:
    """Insert rows of `spans`, `episodes` or `groups` as one block; nothing to do for no rows."""
    if rows.num_rows:
        await patience.until_done(lambda: tables.insert_arrow(table, rows))
