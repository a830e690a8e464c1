"""The sink: fills the log tables from their topics: what was decided, asked, served, halted, lost.

A record's id is the key of its row, so a record that comes twice writes the same row again.
"""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import (
    UNKNOWN_SCHEMA_S,
    DeadLetter,
    DeadLetters,
    Decoder,
    LogRecord,
    Partition,
    Patience,
    Registry,
)
from headrace.schemas import Codec
from headrace.streams.host.config import HostConfig
from headrace.streams.ports import Letters, Tables, bury, insert
from headrace.streams.sink.tables import SCHEMAS, TOPICS, Row, rows_of

NAME = "sink"


class SinkStage:
    """Records of the log topics to rows of their tables. Keeps nothing between takes."""

    name = NAME
    topics = TOPICS

    def __init__(
        self,
        *,
        tables: Tables,
        dead_letters: Letters,
        codec: Codec,
        unknown_schema_s: float = UNKNOWN_SCHEMA_S,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._tables = tables
        self._dead_letters = dead_letters
        self._decoder = Decoder(
            lambda record: rows_of(record, codec), stage=NAME, unknown_schema_s=unknown_schema_s
        )
        self._patience = Patience(NAME)

    @property
    def waiting(self) -> str:
        """What the stage waits for; '' for nothing."""
        return self._patience.waiting

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """Nothing is to be loaded."""

    async def take(self, records: Sequence[LogRecord]) -> Sequence[DeadLetter]:
        """Return when the rows are in ClickHouse, and dead letters on their topics."""
        decoded = await self._decoder.adecode(records, self._patience)
        await bury(self._patience, self._dead_letters, decoded.refused)
        rows: dict[str, list[Row]] = {}
        for _, some in decoded.taken:
            for table, row in some:
                rows.setdefault(table, []).append(row)
        for table, block_rows in rows.items():
            block = pa.Table.from_pylist(block_rows, SCHEMAS[table])
            await insert(self._patience, self._tables, table, block)
        self.counters["refused"] += len(decoded.refused)  # `dead_letters` is a table
        self.counters.update({table: len(some) for table, some in rows.items()})
        return decoded.refused

    def next_deadline(self, where: Partition) -> int | None:
        """The sink waits for no time."""


def make_stage(host: HostConfig) -> SinkStage:
    """The stage on the servers that the host's configuration names; connects at its first take."""
    kafka = host.kafka.client(f"headrace.{NAME}")
    return SinkStage(
        tables=ClickHouse(host.clickhouse),
        dead_letters=DeadLetters(kafka),
        codec=Codec(Registry(host.registry)),
        unknown_schema_s=host.unknown_schema_s,
    )
