"""Arrow results in the plain types that were inserted.

ClickHouse's Arrow output writes Enum as its number and DateTime as UInt32, marks fields as not
null, and names time zones as the server does. Only the ClickHouse types tell an Enum8 from an Int8,
so they are asked for (DESCRIBE) when a column could be one of these.
"""

import re
from collections.abc import Callable, Mapping

import pyarrow as pa

_WRAPPED = re.compile(r"(Nullable|LowCardinality|Array|SimpleAggregateFunction)\((.*)\)", re.DOTALL)
_ENUM = re.compile(r"Enum(?:8|16)\((.*)\)", re.DOTALL)
_ENUM_ENTRY = re.compile(r"'((?:[^'\\]|\\.)*)' = (-?\d+)", re.DOTALL)
_DATETIME = re.compile(r"DateTime(?:\('[^']*'\))?")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


WORD = pa.dictionary(pa.int32(), pa.string())
"""How a LowCardinality(String) may be inserted: words once, and which of them stands where."""

_SIMPLE = {
    "String": pa.string(),
    "Bool": pa.bool_(),
    "Int32": pa.int32(),
    "Int64": pa.int64(),
    "UInt8": pa.uint8(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    "DateTime64(3, 'UTC')": pa.timestamp("ms", "UTC"),
}
_COMPOUND = re.compile(r"(\w+)\((.*)\)", re.DOTALL)


def arrow_type(declared: str) -> pa.DataType:
    """The plain Arrow type in which values of a ClickHouse type are inserted and come back.

    For the types that our tables use; raises ValueError for any other.
    """
    if declared in _SIMPLE:
        return _SIMPLE[declared]
    if found := _COMPOUND.fullmatch(declared):
        kind, parts = found[1], _parts(found[2])
        if kind in ("Nullable", "LowCardinality"):
            return arrow_type(parts[0])
        if kind == "Array":
            return pa.list_(arrow_type(parts[0]))
        if kind == "Map":
            return pa.map_(*map(arrow_type, parts))
        if kind == "Tuple":
            named = [part.split(" ", 1) for part in parts]
            return pa.struct([(name, arrow_type(inner)) for name, inner in named])
    raise ValueError(f"no Arrow type for ClickHouse's {declared!r}: add it to arrow_types.py")


def _parts(text: str) -> list[str]:
    """What is between a type's own commas."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def plain(table: pa.Table, types: Callable[[], Mapping[str, str]]) -> pa.Table:
    """`table` with Enum as string, DateTime as timestamp[s], timestamps in UTC, all nullable.

    Enum and DateTime are restored in columns and in arrays, not inside Map or Tuple.

    Args:
        table: as the server wrote it.
        types: returns ClickHouse's type of each column; called only if a column needs it.
    """
    if any(_is_ambiguous(field.type) for field in table.schema):
        known = types()
        columns = [
            _restore_column(table.column(at), known.get(field.name, ""))
            for at, field in enumerate(table.schema)
        ]
        table = pa.table(columns, names=table.column_names)
    target = pa.schema([pa.field(field.name, plain_type(field.type)) for field in table.schema])
    return table if table.schema.equals(target) else table.cast(target)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """`kind` with nullable fields all through, timestamps in UTC, dictionaries decoded."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(part.name, plain_type(part.type)) for part in kind])
    if pa.types.is_timestamp(kind):
        return pa.timestamp(kind.unit, "UTC")
    return kind


def _is_ambiguous(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind):
        kind = kind.value_type
    return kind in (pa.int8(), pa.int16(), pa.uint32())


def _restore_column(column: pa.ChunkedArray, declared: str) -> pa.ChunkedArray:
    # An empty result has no chunk to take the restored type from.
    chunks = column.chunks or [pa.array([], column.type)]
    return pa.chunked_array([_restore(chunk, declared) for chunk in chunks])


def _restore(array: pa.Array, declared: str) -> pa.Array:
    if wrapped := _WRAPPED.fullmatch(declared):
        inner = wrapped[2]
        if wrapped[1] == "SimpleAggregateFunction":
            inner = inner.partition(", ")[2]
        if wrapped[1] != "Array":
            return _restore(array, inner)
        values = _restore(array.values, inner)
        return pa.ListArray.from_arrays(array.offsets, values)
    if pa.types.is_integer(array.type):
        if entries := _ENUM.fullmatch(declared):
            return _names(array, entries[1])
        if _DATETIME.fullmatch(declared) and array.type == pa.uint32():
            return array.cast(pa.int64()).cast(pa.timestamp("s", "UTC"))
    return array


def _names(array: pa.Array, entries: str) -> pa.Array:
    import pyarrow.compute as pc  # 10 MB that a process which asks for no enumeration does without

    pairs = _ENUM_ENTRY.findall(entries)
    numbers = pa.array([int(number) for _, number in pairs], array.type)
    names = pa.array([_ESCAPED.sub(r"\1", name) for name, _ in pairs], pa.string())
    return names.take(pc.index_in(array, value_set=numbers))
