"""What the assembler's takes owe its tables: written behind the stream, in log order."""

import asyncio

import pyarrow as pa

from headrace.connectors.kafka import Patience
from headrace.streams.assemble.spans import Spans, blocks
from headrace.streams.ports import Tables, insert


class Owed:
    """Spans and rows of takes that have been told, in their order. One writer at a time.

    Each table gets one block (rule: a take is one block): spans, then repeated batches, then the
    rows of `episodes`, so that an episode with a row has all spans of its first take stored.
    """

    def __init__(self, tables: Tables, patience: Patience) -> None:
        self.bytes = 0
        """Bytes of what is not stored."""
        self._tables = tables
        self._patience = patience
        self._writing = asyncio.Lock()
        self._spans: list[Spans] = []
        self._repeats: list[pa.RecordBatch] = []
        self._rows: list[pa.RecordBatch] = []

    def add(self, spans: Spans, repeats: pa.RecordBatch, rows: pa.RecordBatch) -> None:
        """A take was told; its spans may have been stored already, and are none then."""
        self._spans.append(spans)
        self._repeats.append(repeats)
        self._rows.append(rows)
        self.bytes += spans.size + repeats.nbytes + rows.nbytes

    async def store_spans(self, last: Spans) -> None:
        """Store all spans that are owed and `last`, those of a take that needs them read back."""
        async with self._writing:
            spans = self._taken()
            await self._write_spans([*spans, last])
            self.bytes -= sum(one.size for one in spans)

    async def store(self) -> None:
        """Store all that was added before this call."""
        async with self._writing:
            spans, repeats, rows = self._taken(), self._repeats, self._rows
            self._repeats, self._rows = [], []
            owed = sum(one.size for one in spans) + sum(one.nbytes for one in (*repeats, *rows))
            await self._write_spans(spans)
            await self._write("repeated_batches", repeats)
            await self._write("episodes", rows)
            self.bytes -= owed

    def _taken(self) -> list[Spans]:
        spans, self._spans = self._spans, []
        return spans

    async def _write_spans(self, takes: list[Spans]) -> None:
        await self._write("spans", await asyncio.to_thread(blocks, takes))

    async def _write(self, table: str, parts: list[pa.RecordBatch]) -> None:
        filled = [part for part in parts if part.num_rows]
        if filled:
            await insert(self._patience, self._tables, table, pa.Table.from_batches(filled))
