"""What a stage sees of ClickHouse and Kafka. Blocking; a stage calls them through its Patience."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from headrace.connectors.kafka import DeadLetter, Outgoing, Patience

T = TypeVar("T")

KEYS_PER_QUERY = 500
"""Keys that one look-up asks for at most: they travel in the query's URL."""


class Tables(Protocol):
    """ClickHouse, as far as a stage uses it."""

    def query_arrow(self, sql: str, parameters: dict[str, object] | None = None) -> pa.Table:
        """The result as columns."""

    def insert_arrow(self, table: str, data: pa.RecordBatch | pa.Table) -> int:
        """Insert one block."""


class Log(Protocol):
    """Kafka, as far as a stage writes to it."""

    def send(self, records: Sequence[Outgoing]) -> None:
        """Return when all records are acknowledged."""


class Letters(Protocol):
    """The dead-letter topics, as far as a stage writes to them."""

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Return when all letters are acknowledged."""


async def insert(
    patience: Patience, tables: Tables, table: str, rows: pa.RecordBatch | pa.Table
) -> None:
    """Insert rows as one block (rule: a take is one block); nothing to do for no rows."""
    if rows.num_rows:
        await patience.auntil_done(lambda: tables.insert_arrow(table, rows))


async def bury(patience: Patience, letters: Letters, refused: Sequence[DeadLetter]) -> None:
    """Make dead letters durable; nothing to do for none."""
    if refused:
        await patience.auntil_done(lambda: letters.send(refused))


def by_query(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    """The keys of one look-up after the other."""
    for start in range(0, len(keys), KEYS_PER_QUERY):
        yield keys[start : start + KEYS_PER_QUERY]
