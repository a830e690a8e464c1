"""Vectorised reading of what a fold needs from span columns."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.schemas.deadline import is_time
from headrace.schemas.spans import Array
from headrace.schemas.vocabulary import SpanKind
from headrace.streams.cells import has_word

_WORD_1, _WORD_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_FEW = 512
"""Rows of which all keys are read, to save Arrow's kernel that takes some."""
_STEP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(kw_only=True, slots=True, frozen=True)
class Grouped:
    """Rows of a batch grouped by episode; s episodes, n rows, log order within an episode.

    keys [s] "project/rollout/attempt", starts [s + 1] into the other columns, which are [n] each:
    row (in the batch), span_id (int), mixed (uint64), log_time, ended (bool), bound (log time by
    which the attempt is to be over, or NEVER), partition.
    """

    keys: list[str]
    starts: Array
    row: Array
    span_id: Array
    mixed: Array
    log_time: Array
    ended: Array
    bound: Array
    partition: Array


NEVER = 1 << 62  # leaves room for a grace to be added


def key_of(project: str, rollout_id: str, attempt: str) -> str:
    """An episode's key; no id contains a slash."""
    return f"{project}/{rollout_id}/{attempt}"


def parts_of(key: str) -> tuple[str, str, str]:
    """Project, rollout and attempt of a key."""
    project, rollout_id, attempt = key.split("/")
    return project, rollout_id, attempt


def keys_of(batch: pa.RecordBatch) -> tuple[list[str], Array]:
    """The episodes of a batch in order of appearance, and the number of each row's episode."""
    texts = pc.binary_join_element_wise(
        batch.column("project").dictionary_decode(),
        batch.column("rollout_id"),
        batch.column("attempt"),
        "/",
    ).dictionary_encode()
    return texts.dictionary.to_pylist(), texts.indices.to_numpy()


def group(batch: pa.RecordBatch) -> Grouped:
    """Group the rows of a batch of SPANS_SCHEMA, itself in log order, by episode."""
    keys, slots = keys_of(batch)
    deadline, log_time = (batch.column(name).to_numpy() for name in ("deadline", "log_time"))
    told = is_time(deadline, log_time)
    return grouped_by(
        keys,
        slots,
        span_id=span_numbers(batch),
        ended=flags(batch, SpanKind.END),
        bound=np.where(told, deadline, NEVER),
        log_time=log_time,
        partition=batch.column("partition").to_numpy(),
    )


def grouped_by(
    keys: list[str],
    slots: Array,
    *,
    span_id: Array,
    ended: Array,
    bound: Array,
    log_time: Array,
    partition: Array,
) -> Grouped:
    """Columns of rows in log order, grouped; `slots` [n]: the number of each row's key."""
    order = np.argsort(slots, kind="stable")
    return Grouped(
        keys=keys,
        starts=np.searchsorted(slots[order], np.arange(len(keys) + 1)),
        row=order,
        span_id=span_id[order],
        mixed=mix(span_id)[order],
        log_time=log_time[order],
        ended=ended[order],
        bound=bound[order],
        partition=partition[order],
    )


def flags(batch: pa.RecordBatch, kind: str) -> Array:
    """Which rows are of a kind."""
    return has_word(batch.column("kind"), kind)


def span_numbers(batch: pa.RecordBatch) -> Array:
    """The span ids as uint64."""
    column = batch.column("span_id")
    _, ends, text = column.buffers()
    if not len(column):
        return np.zeros(0, np.uint64)
    offsets = np.frombuffer(ends, np.int32)[column.offset : column.offset + len(column) + 1]
    digits = bytes(text[int(offsets[0]) : int(offsets[-1])]).decode()
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64)


def in_order(batch: pa.RecordBatch, rows: Array) -> Array:
    """The order of some rows of a batch by offset, start and id."""
    keys = batch.select(["span_id", "started_at", "offset"])
    chosen = rows
    if batch.num_rows > _FEW:
        keys, chosen = keys.take(pa.array(rows)), np.arange(len(rows))
    columns = (span_numbers(keys), keys.column(1).to_numpy(), keys.column(2).to_numpy())
    order: Array = np.lexsort([column[chosen] for column in columns])
    return order


def mix(values: Array) -> Array:
    """Splitmix64's finaliser (Steele et al., OOPSLA 2014) on uint64, wrapping."""
    with np.errstate(over="ignore"):
        mixed = values + _STEP
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _WORD_1
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _WORD_2
    result: Array = mixed ^ (mixed >> np.uint64(31))
    return result
