"""Reading a SpanBatch: numpy views over the record's bytes, every length and index checked.

Whatever passes `read_span_batch` can be used without looking again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from headrace.schemas.columns import INDEX, PACKED, ROW, Block, Column, Type, columns_of
from headrace.schemas.errors import InvalidId, MalformedRecord
from headrace.schemas.ids import check_id
from headrace.schemas.spans import Array

_FEW = 64


class Texts(NamedTuple):
    """n UTF-8 texts: int32 offsets [n + 1] into a blob, as Arrow lays them out."""

    offsets: Array
    blob: bytes


class Lists(NamedTuple):
    """m lists of numbers: int64 offsets [m + 1] into their values."""

    offsets: Array
    values: Array


Columns: TypeAlias = dict[str, Any]
"""Columns of a block by the names of the table `spans`: packed ones as arrays, texts as a list of
str, lists as `Lists`; calls and rewards also have `row`, the span of each entry."""


@dataclass(kw_only=True, slots=True, frozen=True)
class SpanColumns:
    """A read SpanBatch: numpy views over the record's bytes.

    `spans` are columns of n entries, `calls` and `rewards` of as many as there are. Words are
    indices into `strings`, or positions `among` the column's own; span ids are `S16` hexadecimal
    digits. `episode` [n] points into `episodes` (plain dictionaries: project, rollout_id, attempt,
    subject, episode_batch). `starts` and `ends` are plain dictionaries too.
    """

    producer: str
    sequence: int
    n: int
    strings: list[str]
    episodes: list[dict[str, Any]]
    episode: Array
    spans: Columns
    texts: dict[str, Texts]
    calls: Columns | None
    rewards: Columns | None
    starts: list[dict[str, Any]]
    ends: list[dict[str, Any]]
    has_content: bool


def read_span_batch(record: Mapping[str, Any]) -> SpanColumns:
    """Columns of a decoded SpanBatch; raises MalformedRecord naming the column at fault.

    A span id that is in the batch twice for one episode is an error of the producer: the
    batch is refused whole, for which of the two is the span could not be told by its id.
    """
    n = int(record["n"])
    if n < 0:
        raise MalformedRecord(f"SpanBatch.n is {n}")
    strings, episodes = record["strings"] or [""], record["episodes"]
    for episode in episodes:
        try:
            for name in ("project", "rollout_id", "attempt"):
                check_id(episode[name], name)
        except InvalidId as error:
            raise MalformedRecord(f"SpanBatch.episodes: {error}") from error
    content = record["content"]
    columns = SpanColumns(
        producer=record["producer"],
        sequence=record["sequence"],
        n=n,
        strings=strings,
        episodes=episodes,
        episode=_column(record, "episode", _INDEX, n, limit=len(episodes)),
        spans=_read_spans(record, n, len(strings)),
        texts={name: _texts(content, name, n) for name in _plan(Block.SPANS).content},
        calls=_read_block(Block.CALLS, record, content, n, len(strings)),
        rewards=_read_block(Block.REWARDS, record, content, n, len(strings)),
        starts=_checked_rows(record["starts"], "starts", n),
        ends=_checked_rows(record["ends"], "ends", n),
        has_content=content is not None,
    )
    _refuse_repeated_ids(record["span_id"], columns.episode)
    return columns


def _refuse_repeated_ids(span_ids: bytes, episode: Array) -> None:
    ids = np.frombuffer(span_ids, dtype="<u8")
    if len(set(ids.tolist())) == len(ids):
        return
    pairs = np.stack([ids, episode.astype("<u8")])
    if np.unique(pairs, axis=1).shape[1] != len(ids):
        raise MalformedRecord("SpanBatch.span_id: a span id is there twice for one episode")


_INDEX, _ROW = np.dtype(INDEX), np.dtype(ROW)
_LENGTH, _BOUND = np.dtype(PACKED[Type.UINT32]), np.dtype(PACKED[Type.INT32])
_STRINGS = -1


class _Packed(NamedTuple):
    """A packed column; `limit`: its values are below it, or below the number of strings."""

    name: str
    field: str
    dtype: Any
    limit: int | None


class _List(NamedTuple):
    """A column of packed lists."""

    name: str
    field: str
    dtype: Any
    lengths: str
    content: bool


class _Plan(NamedTuple):
    """How a block is read, made from the table of columns once."""

    packed: tuple[_Packed, ...]
    ids: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]
    lists: tuple[_List, ...]
    lengths: tuple[str, ...]
    content: tuple[str, ...]


@cache
def _plan(block: Block) -> _Plan:
    columns = columns_of(block)
    lists = [column for column in columns if column.many]
    single = [column for column in columns if not column.many]
    texts = [column for column in single if column.type is Type.TEXT]
    return _Plan(
        packed=tuple(
            _Packed(column.name, column.field, np.dtype(column.packed), _limit(column))
            for column in single
            if column.type not in (Type.TEXT, Type.SPAN_ID)
        ),
        ids=tuple(column.name for column in single if column.type is Type.SPAN_ID),
        texts=tuple((column.name, column.field) for column in texts if not column.content),
        lists=tuple(
            _List(c.name, c.field, np.dtype(c.packed), c.lengths, c.content) for c in lists
        ),
        lengths=tuple(dict.fromkeys(column.lengths for column in lists)),
        content=tuple(column.name for column in texts if column.content),
    )


def _limit(column: Column) -> int | None:
    if column.among:
        return len(column.among)
    return {Type.WORD: _STRINGS, Type.BOOL: 2}.get(column.type)


def _read_spans(record: Mapping[str, Any], n: int, strings: int) -> Columns:
    plan = _plan(Block.SPANS)
    columns = _read_packed(plan.packed, record, n, strings)
    for name in plan.ids:
        columns[name] = _hex_column(record, name, n)
    return columns


def _read_packed(
    packed: Sequence[_Packed], source: Mapping[str, Any], n: int, strings: int
) -> Columns:
    return {
        name: _column(source, field, dtype, n, strings if limit == _STRINGS else limit)
        for name, field, dtype, limit in packed
    }


def _read_block(
    block: Block,
    record: Mapping[str, Any],
    content: Mapping[str, Any] | None,
    n: int,
    strings: int,
) -> Columns | None:
    """Calls or rewards, of a batch of `n` spans."""
    source = record[block]
    if source is None:
        return None
    plan = _plan(block)
    m = len(source["row"]) // _ROW.itemsize
    columns = _read_packed(plan.packed, source, m, strings)
    columns["row"] = _column(source, "row", _ROW, m, limit=n)
    for name, field in plan.texts:
        if len(source[field]) != m:
            raise MalformedRecord(f"{block}: {field} must have {m} entries")
        columns[name] = source[field]
    offsets = {name: _offsets(_column(source, name, _LENGTH, m)) for name in plan.lengths}
    for name, field, dtype, lengths, in_content in plan.lists:
        if in_content and content is None:
            # Captured without content: the lengths stay known, the tokens do not.
            columns[name] = Lists(np.zeros(m + 1, np.int64), np.zeros(0, dtype))
        else:
            held: Mapping[str, Any] = content if in_content and content is not None else source
            bounds = offsets[lengths]
            columns[name] = Lists(bounds, _column(held, field, dtype, int(bounds[-1])))
    return columns


def _column(
    source: Mapping[str, Any], name: str, dtype: Any, n: int, limit: int | None = None
) -> Array:
    data = source[name]
    if len(data) != n * dtype.itemsize:
        raise MalformedRecord(f"column {name}: {len(data)} bytes are not {n} values of {dtype}")
    column = np.frombuffer(data, dtype=dtype)
    if limit is not None and n and _largest(column) >= limit:
        raise MalformedRecord(f"column {name}: index {_largest(column)} beyond its {limit} values")
    return column


def _largest(column: Array) -> int:
    # Many records hold a span or two, where numpy's reduction costs ten times the list.
    return max(column.tolist()) if len(column) < _FEW else int(column.max())


def _hex_column(source: Mapping[str, Any], name: str, n: int) -> Array:
    data = source[name]
    if len(data) != 8 * n:
        raise MalformedRecord(f"column {name}: {len(data)} bytes are not {n} span ids")
    return np.frombuffer(data.hex().encode(), dtype="S16")


def _checked_rows(items: list[dict[str, Any]], name: str, n: int) -> list[dict[str, Any]]:
    for item in items:
        if not 0 <= item["row"] < n:
            raise MalformedRecord(f"{name}: row {item['row']} of a batch of {n}")
    return items


def _texts(content: Mapping[str, Any] | None, name: str, n: int) -> Texts:
    if content is None or not content[f"{name}_offsets"]:
        return Texts(offsets=np.zeros(n + 1, dtype=_BOUND), blob=b"")
    offsets = _column(content, f"{name}_offsets", _BOUND, n + 1)
    blob = content[name]
    if offsets[0] != 0 or offsets[-1] != len(blob) or bool((offsets[1:] < offsets[:-1]).any()):
        raise MalformedRecord(f"column {name}: its offsets do not delimit its {len(blob)} bytes")
    if blob.isascii():  # a tenth of the time of decoding
        return Texts(offsets=offsets, blob=blob)
    try:
        blob.decode()
    except UnicodeDecodeError as error:
        raise MalformedRecord(f"column {name}: not UTF-8: {error}") from error
    inner = offsets[offsets < len(blob)]
    if bool((np.frombuffer(blob, dtype="u1")[inner] & 0xC0 == 0x80).any()):
        raise MalformedRecord(f"column {name}: an offset cuts a UTF-8 character")
    return Texts(offsets=offsets, blob=blob)


def _offsets(lengths: Array) -> Array:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
