"""Spans of a stretch of the log against the rows of the same offsets. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pyarrow as pa

KEY = ("project", "rollout_id", "attempt", "span_id")
COLUMNS = (*KEY, "offset", "producer", "sequence")

Key = tuple[str, str, str, str]
Row = tuple[str, str, str, str, int, str, int]
"""The columns of COLUMNS."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Compared:
    """Rows that are on one side alone."""

    only_log: frozenset[Row]
    """A repetition, or lost."""
    only_table: frozenset[Row]
    """Of no record at that offset."""


def rows_of(table: pa.Table | pa.RecordBatch, project: str | None) -> set[Row]:
    """The rows of a batch of spans, of one project or of all (None)."""
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    rows = zip(*columns, strict=True)
    return {row for row in rows if project is None or row[0] == project}


def compare(
    log: Collection[Row], table: Collection[Row], *, set_aside: Collection[Row] = ()
) -> Compared:
    """The spans that the log has at some offsets, and the rows that the table has there.

    set_aside: spans of dead letters that can be read after all: the table may have them or not.
    """
    ours, theirs = set(log), set(table)
    return Compared(
        only_log=frozenset(ours - theirs),
        only_table=frozenset(theirs - ours - set(set_aside)),
    )


def verdict(row: Row, first: Mapping[Key, int]) -> str:
    """What a span is that the table lacks at its offset: 'repeated', 'lost', or where it is.

    first: by key the offset at which the table has the span.
    """
    stored = first.get(row[:4])
    if stored is None:
        return "lost"
    return "repeated" if stored < row[4] else f"the table has it at offset {stored}"
