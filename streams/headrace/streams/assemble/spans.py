"""The spans of a take: as its records hold them, and as rows of the table when these are needed.

Agents that await their calls make records of one or two spans, and a row of the table has some
fifty columns, each with a cost of its own. So the rows of small takes are made together: for the
store of all takes since the last one, and for the episodes that are told. Pure.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa

from headrace.schemas.deadline import is_time
from headrace.schemas.spans import KINDS, Array
from headrace.schemas.vocabulary import SpanKind
from headrace.streams.assemble.columns import LoggedBatch, spans_of
from headrace.streams.assemble.keys import NEVER, Grouped, group, grouped_by, key_of

_FEW = 512
"""Spans of a take that stays in its records."""
_RECORD_BYTES = 6_000
"""What the columns of a record take up beside their bytes."""
_END = KINDS.index(SpanKind.END)


class Spans:
    """n spans in log order, with what a fold needs of them."""

    __slots__ = ("_records", "_rows", "grouped", "n", "size")

    def __init__(self, records: Sequence[LoggedBatch] = (), rows: pa.RecordBatch | None = None):
        """From the records of a take, or from rows that came back from the store."""
        self._records = records
        self._rows = rows
        if rows is None and (_is_large(records) or any(r.own is not None for r in records)):
            self._rows = spans_of(records)
            self._records = ()
        self.grouped: Grouped = _grouped(records) if self._rows is None else group(self._rows)
        self.n = len(self.grouped.row)
        """How many there are."""
        self.size: int = (
            sum(record.size + _RECORD_BYTES for record in records)
            if self._rows is None
            else self._rows.nbytes
        )
        """Bytes that they take up."""

    @property
    def are_rows(self) -> bool:
        """Whether they are in the table's layout already."""
        return self._rows is not None

    @property
    def rows(self) -> pa.RecordBatch:
        """They in the table's layout."""
        if self._rows is None:
            self._rows, self._records = spans_of(self._records), ()
        return self._rows

    @property
    def records(self) -> Sequence[LoggedBatch]:
        """The records that hold them; none where they are rows."""
        return self._records

    def records_with(self, rows: Array) -> tuple[list[LoggedBatch], Array]:
        """The records that hold some of them, and where these stand in those records' rows."""
        sizes = np.array([record.columns.n for record in self._records])
        bases = np.concatenate([[0], np.cumsum(sizes)])
        which = np.searchsorted(bases, rows, side="right") - 1
        used, place = np.unique(which, return_inverse=True)
        begins = np.cumsum(sizes[used]) - sizes[used]
        return [self._records[i] for i in used.tolist()], rows - bases[which] + begins[place]


Part = tuple[Spans, Array]
"""Some spans of a take, by their numbers in it."""


def chosen_rows(parts: Sequence[Part]) -> Iterator[tuple[pa.RecordBatch, Array]]:
    """The parts in their order as rows of batches; those that are in records share one."""
    for are_rows, run in groupby(parts, key=lambda part: part[0].are_rows):
        if are_rows:
            yield from ((spans.rows, rows) for spans, rows in run)
        else:
            yield _together(list(run))


def blocks(takes: Sequence[Spans]) -> list[pa.RecordBatch]:
    """Takes in their order as batches of the table; those that are in records share one."""
    # Records are read once: a fold may make rows of them meanwhile.
    held = [(spans, spans.records) for spans in takes if spans.n]
    found: list[pa.RecordBatch] = []
    for in_records, run in groupby(held, key=lambda one: bool(one[1])):
        if in_records:
            found.append(spans_of([record for _, records in run for record in records]))
        else:
            found += [spans.rows for spans, _ in run]
    return found


def picked(batch: pa.RecordBatch, rows: Array) -> pa.RecordBatch:
    """Some rows of a batch, in their order."""
    if len(rows) == batch.num_rows and bool((rows == np.arange(len(rows))).all()):
        return batch
    return batch.take(pa.array(rows))


def _together(parts: Sequence[Part]) -> tuple[pa.RecordBatch, Array]:
    records: list[LoggedBatch] = []
    places: list[Array] = []
    base = 0
    for spans, rows in parts:
        some, where = spans.records_with(rows)
        records += some
        places.append(where + base)
        base += sum(record.columns.n for record in some)
    return spans_of(records), np.concatenate(places)


def _is_large(records: Sequence[LoggedBatch]) -> bool:
    return sum(record.columns.n for record in records) > _FEW


def _grouped(records: Sequence[LoggedBatch]) -> Grouped:
    """As `group` of the records' rows, without making these."""
    names: dict[str, int] = {}
    slots: list[Array] = [np.zeros(0, np.int64)]
    ids, kinds, bounds = [], [], []
    for record in records:
        columns = record.columns
        episodes = [
            names.setdefault(key_of(e["project"], e["rollout_id"], e["attempt"]), len(names))
            for e in columns.episodes
        ]
        slots.append(np.array(episodes, np.int64)[columns.episode])
        ids.append(columns.spans["span_id"].tobytes())
        kinds.append(columns.spans["kind"].tobytes())
        bound = np.full(columns.n, NEVER)
        for start in columns.starts:
            if is_time(start["deadline"], record.log_time):
                bound[start["row"]] = start["deadline"]
        bounds.append(bound)
    sizes = [record.columns.n for record in records]
    keys, slot = _used(list(names), np.concatenate(slots))
    return grouped_by(
        keys,
        slot,
        span_id=np.frombuffer(bytes.fromhex(b"".join(ids).decode()), ">u8").astype(np.uint64),
        ended=np.frombuffer(b"".join(kinds), np.uint8) == _END,
        bound=np.concatenate([np.zeros(0, np.int64), *bounds]),
        log_time=np.repeat(np.array([r.log_time for r in records], np.int64), sizes),
        partition=np.repeat(np.array([r.partition for r in records], np.uint32), sizes),
    )


def _used(keys: list[str], slot: Array) -> tuple[list[str], Array]:
    """Without keys that no row has: a batch may name an episode and hold nothing of it."""
    if np.bincount(slot, minlength=len(keys)).all():
        return keys, slot
    used, slot = np.unique(slot, return_inverse=True)
    return [keys[i] for i in used.tolist()], slot
