"""Cells of a batch as plain Python values, column by column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.schemas.spans import Array

_FEW = 16
"""Rows that are read cell by cell: a kernel of Arrow's costs as much as some tens of cells."""


def cells(batch: pa.RecordBatch, rows: Array, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Some rows as tuples, in the order of `columns`."""
    if len(rows) <= _FEW:
        return few_cells(batch, rows.tolist(), columns)
    chosen = batch.select(columns).take(pa.array(rows))
    return list(zip(*(plain(column) for column in chosen.columns), strict=True))


def few_cells(
    batch: pa.RecordBatch, rows: Sequence[int], columns: Sequence[str]
) -> list[tuple[Any, ...]]:
    """As `cells`, of few rows."""
    if not rows:
        return []
    read = [batch.column(name) for name in columns]
    return [tuple(column[row].as_py() for column in read) for row in rows]


def records(batch: pa.RecordBatch, rows: Array, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Some rows as dictionaries."""
    return [dict(zip(columns, row, strict=True)) for row in cells(batch, rows, columns)]


def plain(column: pa.Array) -> list[Any]:
    """The values of a column; None for a null.

    As `to_pylist`, which makes an object of Arrow's for each cell and takes five times as long.
    """
    if pa.types.is_dictionary(column.type):
        words = column.dictionary.to_pylist()
        return [words[i] for i in column.indices.to_numpy().tolist()]
    if pa.types.is_list(column.type):
        flat, offsets = plain(column.values), column.offsets.to_numpy().tolist()
        return [flat[offsets[i] : offsets[i + 1]] for i in range(len(column))]
    if column.null_count and not pa.types.is_string(column.type):
        return list(column.to_pylist())
    return list(column.to_numpy(zero_copy_only=False).tolist())


def has_word(column: pa.DictionaryArray, word: str) -> Array:
    """Which rows of a column of words, each of them once in its dictionary, are a word."""
    words = column.dictionary.to_pylist()
    if word not in words:
        return np.zeros(len(column), bool)
    found: Array = column.indices.to_numpy() == words.index(word)
    return found
