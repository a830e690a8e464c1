"""What the assembler's core says: what it needs to know, and what a take changed. Pure."""

from dataclasses import dataclass

import pyarrow as pa

from headrace.schemas.spans import Array
from headrace.streams.assemble.repeats import RepeatedBatch


@dataclass(kw_only=True, slots=True, frozen=True)
class Snapshot:
    """What a fold says of one episode. Times are log time, ms.

    `version` = 2·(n_spans + filled) + closed. `filled`: numbers of batches that only repeated
    spans, where they would pass for holes.
    """

    key: str
    partition: int
    version: int
    n_spans: int
    filled: int
    digest: int
    closed: bool
    closed_by: str
    close_by: int
    log_first: int
    log_last: int


@dataclass(kw_only=True, slots=True, frozen=True)
class Folded:
    """What a take changed: s snapshots, and the spans they are made of.

    rows: n spans of SPANS_SCHEMA, those of one snapshot in the order of offset, start and id; slot
    [n]: the snapshot each belongs to; repeats: batches that only repeated spans, to be stored
    before the rows of `episodes`.
    """

    snapshots: list[Snapshot]
    rows: pa.Table
    slot: Array
    repeats: list[RepeatedBatch]


@dataclass(kw_only=True, slots=True, frozen=True)
class Needs:
    """Episodes that are not in memory and that a take touches, or whose time has come."""

    unknown: list[str]
    """Nothing is known of them here: ask whether they are stored."""
    stubs: list[str]
    """Open ones that are stored: rebuild them."""
    due: list[str]
    """Open ones whose deadline has passed: rebuild them, then they can be closed."""
