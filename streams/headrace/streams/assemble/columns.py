"""Spans as Arrow columns: the layout of the table `spans`, built from the batches' buffers.

The same layout comes back from ClickHouse on a rebuild, so one code path folds both. Work is per
record and per call; nothing here loops over spans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.connectors.clickhouse.tables import spans_schema
from headrace.schemas import NO_SPAN, SpanColumns
from headrace.schemas.columns import PACKED, SPAN_COLUMNS, Block, Column, Type, columns_of
from headrace.schemas.span_reader import Columns, Lists
from headrace.schemas.spans import Array

SPANS_SCHEMA = spans_schema()
NO_SPANS = pa.RecordBatch.from_pylist([], SPANS_SCHEMA)

# Of the columns of numbers, and of lists of numbers.
_DTYPES = {
    column.name: np.dtype(PACKED[column.type]) if column.type is not Type.BOOL else np.dtype(bool)
    for column in SPAN_COLUMNS
    if column.type in PACKED
} | {column.name: np.dtype(np.uint64) for column in SPAN_COLUMNS if column.type is Type.UINT64}
_FEW = 512
_SHARED = tuple(column for column in SPAN_COLUMNS if len(column.blocks) > 1)


@dataclass(kw_only=True, slots=True, frozen=True)
class LoggedBatch:
    """A read SpanBatch with its place in the log.

    `size`: bytes of its record. `own`: which of the batch's episodes live in this partition, one
    bool each; None: all do.
    """

    columns: SpanColumns
    partition: int
    offset: int
    log_time: int
    size: int = 0
    own: tuple[bool, ...] | None = None


def spans_of(records: Sequence[LoggedBatch]) -> pa.RecordBatch:
    """All spans of some records, in order, as one batch of SPANS_SCHEMA."""
    if not records:
        return NO_SPANS
    batch = _Take(records).build()
    if any(record.own is not None for record in records):
        batch = batch.filter(_own_rows(records))
    return batch


def as_rows(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.RecordBatch:
    """Rows read back from a table of the store, in one batch of a layout of ours."""
    if not tables:
        return NO_SPANS if schema is SPANS_SCHEMA else pa.RecordBatch.from_pylist([], schema)
    whole = pa.concat_tables(tables).select(schema.names).cast(schema).combine_chunks()
    batches = whole.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema)


def _own_rows(records: Sequence[LoggedBatch]) -> pa.Array:
    masks = []
    for record in records:
        columns = record.columns
        own = np.ones(len(columns.episodes), bool) if record.own is None else np.array(record.own)
        masks.append(own[columns.episode] if columns.n else np.zeros(0, bool))
    return pa.array(np.concatenate(masks))


class _Words:
    """Strings of a take, each once, '' first."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {"": 0}

    def indices(self, texts: Sequence[str]) -> Array:
        index = self._index
        return np.array([index.setdefault(text, len(index)) for text in texts], dtype=np.int32)

    def column(self, indices: Array) -> pa.Array:
        """Dictionary array that holds only the words it uses."""
        words = list(self._index)
        if len(indices) <= _FEW:
            return _few_words(words, indices.tolist())
        used = np.flatnonzero(np.bincount(indices, minlength=len(words)))
        place = np.zeros(len(words), np.int32)
        place[used] = np.arange(len(used), dtype=np.int32)
        dictionary = pa.array([words[i] for i in used], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(place[indices]), dictionary)


def _few_words(words: Sequence[str], indices: Sequence[int]) -> pa.Array:
    """As a column of `_Words`, at less than the calls of numpy for many rows."""
    place = {index: i for i, index in enumerate(sorted(set(indices)))}
    return pa.DictionaryArray.from_arrays(
        pa.array([place[index] for index in indices], pa.int32()),
        pa.array([words[index] for index in place], pa.string()),
        safe=False,
    )


class _Take:
    """One concatenation of records, column by column of the table."""

    def __init__(self, records: Sequence[LoggedBatch]) -> None:
        self.records = records
        self.parts = [record.columns for record in records]
        self.sizes = np.array([part.n for part in self.parts])
        self.bases = np.concatenate([[0], np.cumsum(self.sizes)])
        self.n = int(self.bases[-1])
        self.words = _Words()
        self.maps = [self.words.indices(part.strings) for part in self.parts]
        self.columns: dict[str, Any] = {}
        self.shared = {column.name: np.zeros(self.n, np.int32) for column in _SHARED}

    def build(self) -> pa.RecordBatch:
        self._log()
        self._batches()
        self._episodes()
        self._spans()
        for block in (Block.CALLS, Block.REWARDS, Block.STARTS, Block.ENDS):
            if self.n <= _FEW and not any(getattr(part, block) for part in self.parts):
                self._nothing_of(block)
            elif block in (Block.CALLS, Block.REWARDS):
                self._packed(block)
            else:
                self._markers(block)
        for name, indices in self.shared.items():
            self.columns[name] = self.words.column(indices)
        arrays = [self.columns[name] for name in SPANS_SCHEMA.names]
        return pa.RecordBatch.from_arrays(arrays, schema=SPANS_SCHEMA)

    def _log(self) -> None:
        for name in ("partition", "offset", "log_time"):
            values = [getattr(record, name) for record in self.records]
            self.columns[name] = pa.array(self._repeat(values, _DTYPES[name]))
        offset = self.columns["offset"].to_numpy()
        # (rule: the first occurrence wins)
        self.columns["ver"] = pa.array(-offset.astype(np.int64))

    def _batches(self) -> None:
        for column in columns_of(Block.BATCH):
            values = [getattr(part, column.name) for part in self.parts]
            if column.type is Type.TEXT:
                which = self._repeat(range(len(values)), np.int64)
                self.columns[column.name] = pa.array(values, pa.string()).take(pa.array(which))
            else:
                numbers = self._repeat(values, np.int64).astype(_DTYPES[column.name])
                self.columns[column.name] = pa.array(numbers)

    def _repeat(self, values: Sequence[Any], dtype: Any) -> Array:
        return np.repeat(np.array(values, dtype=dtype), self.sizes)

    def _episodes(self) -> None:
        episodes = [episode for part in self.parts for episode in part.episodes]
        first = np.cumsum([0, *(len(part.episodes) for part in self.parts)])
        rows = np.concatenate([part.episode + first[i] for i, part in enumerate(self.parts)])
        for column in columns_of(Block.EPISODES):
            values = [episode[column.name] for episode in episodes]
            if column.type is Type.WORD:
                self.columns[column.name] = self.words.column(self.words.indices(values)[rows])
            elif column.type is Type.TEXT:
                self.columns[column.name] = pa.array(values, pa.string()).take(pa.array(rows))
            else:
                numbers = np.array(values, np.int64).astype(_DTYPES[column.name])
                self.columns[column.name] = pa.array(numbers[rows])

    def _spans(self) -> None:
        for column in columns_of(Block.SPANS):
            if column.content:
                self.columns[column.name] = self._texts(column.name)
                continue
            values = [part.spans[column.name] for part in self.parts]
            if column.type is Type.WORD and not column.among:
                values = [words[index] for words, index in zip(self.maps, values, strict=True)]
            joined = np.concatenate(values)
            if column.type is Type.SPAN_ID:
                self.columns[column.name] = _hex_column(joined, NO_SPAN if column.optional else "")
            elif column.among:
                self.columns[column.name] = pa.DictionaryArray.from_arrays(
                    pa.array(joined.astype(np.int32)), pa.array(column.among)
                )
            elif column.type is Type.WORD:
                self.columns[column.name] = self.words.column(joined)
            else:
                self.columns[column.name] = pa.array(joined)

    def _texts(self, name: str) -> pa.Array:
        texts = [part.texts[name] for part in self.parts]
        lengths = np.concatenate([text.offsets[1:] - text.offsets[:-1] for text in texts])
        blob = b"".join(text.blob for text in texts)
        return pa.StringArray.from_buffers(
            self.n, pa.py_buffer(_offsets(lengths)), pa.py_buffer(blob)
        )

    def _scatter(self, row: Sequence[Array], block: dict[str, Any]) -> None:
        """Spread a block with one default entry in front over the rows of the take."""
        index = np.zeros(self.n, np.int64)
        if row:
            rows = np.concatenate(row)
            index[rows] = np.arange(1, len(rows) + 1)
        if block:
            table = pa.RecordBatch.from_arrays(list(block.values()), names=list(block))
            spread = table.take(pa.array(index))
            self.columns.update(zip(block, spread.columns, strict=True))

    def _spread(self, row: Sequence[Array], lists: dict[str, tuple[Array, Array]]) -> None:
        """Spread a block's lists, as lengths and values, over the rows of the take.

        Where the rows ascend, as our producers write them, the values stay where they are.
        """
        rows = _joined(row, np.int64)
        if not (np.diff(rows) > 0).all():
            offsets = {
                name: _offsets(np.append(0, lengths)) for name, (lengths, _) in lists.items()
            }
            self._scatter(row, {n: _list_array(offsets[n], v) for n, (_, v) in lists.items()})
            return
        for name, (lengths, values) in lists.items():
            spread = np.zeros(self.n, np.int64)
            spread[rows] = lengths
            self.columns[name] = _list_array(_offsets(spread), values)

    def _nothing_of(self, block: Block) -> None:
        """A block that no span of a small take has."""
        rows = _default_rows()
        for column in columns_of(block):
            if column.name not in self.shared:
                self.columns[column.name] = rows.column(column.name).slice(0, self.n)

    def _packed(self, block: Block) -> None:
        """Calls or rewards, which only some of the spans have."""
        found: list[tuple[int, Columns]] = [
            (i, columns)
            for i, part in enumerate(self.parts)
            if (columns := getattr(part, block)) is not None
        ]
        rows = [columns["row"].astype(np.int64) + self.bases[i] for i, columns in found]
        single: dict[str, pa.Array] = {}
        lists: dict[str, tuple[Array, Array]] = {}
        for column in columns_of(block):
            values = [columns[column.name] for _, columns in found]
            if column.many:
                lists[column.name] = _lists(values, _DTYPES[column.name])
            elif column.type is Type.WORD:
                mapped = [self.maps[i][index] for (i, _), index in zip(found, values, strict=True)]
                self._place(column, rows, _led(0, mapped, np.int32), single)
            elif column.type is Type.TEXT:
                texts = ["", *(text for some in values for text in some)]
                single[column.name] = pa.array(texts, pa.string())
            else:
                single[column.name] = _numbers(column, values)
        self._scatter(rows, single)
        if lists:
            self._spread(rows, lists)

    def _markers(self, block: Block) -> None:
        """Starts or ends: a record each."""
        facts = [fact for part in self.parts for fact in getattr(part, block)]
        rows = [
            np.array([fact["row"] for fact in marked], np.int64) + base
            for part, base in zip(self.parts, self.bases, strict=False)
            if (marked := getattr(part, block))
        ]
        single: dict[str, pa.Array] = {}
        for column in columns_of(block):
            values = [fact[column.field] for fact in facts]
            if column.least is not None:
                values = [max(column.least, value) for value in values]
            values = [column.default, *values]
            if column.type is Type.WORD:
                self._place(column, rows, self.words.indices(values), single)
            else:
                single[column.name] = pa.array(values, SPANS_SCHEMA.field(column.name).type)
        self._scatter(rows, single)

    def _place(
        self, column: Column, rows: Sequence[Array], words: Array, single: dict[str, pa.Array]
    ) -> None:
        """Words of a block behind a leading ''; of a column that several blocks give, at once."""
        if column.name not in self.shared:
            single[column.name] = self.words.column(words)
        elif rows:
            self.shared[column.name][np.concatenate(rows)] = words[1:]


@cache
def _default_rows() -> pa.RecordBatch:
    """As many rows to which no block gives anything as a small take has."""
    row = {column.name: column.default for column in SPAN_COLUMNS}
    return pa.RecordBatch.from_pylist([row] * _FEW, SPANS_SCHEMA)


def _numbers(column: Column, values: Sequence[Array]) -> pa.Array:
    """Numbers of a block behind the one that is used where there is none."""
    led = _led(0 if column.unset is None else column.unset, values, _DTYPES[column.name])
    if not column.nullable:
        return pa.array(led)
    if column.unset is not None:
        return pa.array(led, mask=led == column.unset)
    absent = np.zeros(len(led), bool)
    absent[0] = True
    return pa.array(led, mask=absent)


def _lists(values: Sequence[Lists], dtype: Any) -> tuple[Array, Array]:
    """Lengths and values of a block's lists."""
    lengths = [some.offsets[1:] - some.offsets[:-1] for some in values]
    return _joined(lengths, np.int64), _joined([some.values for some in values], dtype)


def _joined(parts: Sequence[Array], dtype: Any) -> Array:
    """The parts in one array, also where there are none."""
    joined: Array = np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)
    return joined


def _list_array(offsets: Array, values: Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _led(default: Any, parts: Sequence[Array], dtype: Any) -> Array:
    """The parts in one array behind a leading default."""
    led: Array = np.concatenate([np.array([default], dtype), *parts]).astype(dtype, copy=False)
    return led


def _offsets(lengths: Array) -> Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _hex_column(ids: Array, none: str) -> pa.Array:
    """Span ids as text, `none` as ''."""
    present = ids != none.encode()
    offsets = _offsets(np.where(present, 16, 0))
    data = ids.tobytes() if present.all() else ids[present].tobytes()
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(data))
