"""Building a SpanBatch: from here on spans travel as packed columns only."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from headrace.schemas.columns import INDEX, PACKED, ROW, Block, Column, Type, columns_of
from headrace.schemas.errors import InvalidId
from headrace.schemas.ids import check_id
from headrace.schemas.spans import NO_SPAN, Span
from headrace.schemas.vocabulary import SpanKind

_LENGTH = PACKED[Type.UINT32]


class _Dictionary:
    """Strings of a batch, each once."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.index.setdefault(text, len(self.index))


def _pack(values: Sequence[Any], dtype: str) -> bytes:
    return np.array(values, dtype=dtype).tobytes()


def _pack_texts(texts: Sequence[str]) -> tuple[bytes, bytes]:
    blobs = [text.encode() for text in texts]
    offsets = np.zeros(len(blobs) + 1, dtype="<i4")
    np.cumsum([len(blob) for blob in blobs], out=offsets[1:])
    return offsets.tobytes(), b"".join(blobs)


def build_span_batch(
    spans: Sequence[Span],
    *,
    producer: str,
    sequence: int,
    episode_batches: Mapping[tuple[str, str, str], int],
    capture_content: bool = True,
) -> dict[str, Any]:
    """The Avro record of one sealed batch.

    `episode_batches` maps (project, rollout_id, attempt) to the number of this batch for that
    episode. Raises InvalidId for an id off the pattern.
    """
    strings = _Dictionary()
    strings("")
    episodes: dict[tuple[str, str, str], int] = {}
    subjects: dict[tuple[str, str, str], str | None] = {}
    for span in spans:
        key = (span.project, span.rollout_id, span.attempt)
        if key not in episodes:
            check_id(span.project, "project")
            check_id(span.rollout_id, "rollout_id")
            check_id(span.attempt, "attempt")
            episodes[key] = len(episodes)
        subjects[key] = span.subject or subjects.get(key)
    record: dict[str, Any] = {
        "producer": producer,
        "sequence": sequence,
        "n": len(spans),
        "episodes": [
            {
                "project": key[0],
                "rollout_id": key[1],
                "attempt": key[2],
                "subject": subjects[key],
                "episode_batch": episode_batches[key],
            }
            for key in episodes
        ],
        "episode": _pack([episodes[s.project, s.rollout_id, s.attempt] for s in spans], INDEX),
        **_build_packed(Block.SPANS, spans, strings),
        "calls": _build_block(Block.CALLS, [span.call for span in spans], strings),
        "rewards": _build_block(Block.REWARDS, [span.reward for span in spans], strings),
        "starts": _build_starts(spans),
        "ends": [
            {
                "row": row,
                "last_episode_batch": episode_batches[s.project, s.rollout_id, s.attempt],
            }
            for row, s in enumerate(spans)
            if s.kind == SpanKind.END
        ],
        "content": _build_content(spans) if capture_content else None,
    }
    record["strings"] = list(strings.index)
    return record


def _span_id(text: str) -> bytes:
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b""
    if len(packed) != 8:
        raise InvalidId(f"span id {text[:40]!r} must be 16 hexadecimal digits")
    return packed


_Take = Callable[[Any], Any]
_Pack = Callable[[list[Any], _Dictionary], bytes]


class _Plan(NamedTuple):
    """How a block is written, made from the table of columns once."""

    packed: tuple[tuple[str, _Take, _Pack], ...]
    texts: tuple[tuple[str, _Take], ...]
    lists: tuple[tuple[str, _Take, str], ...]
    lengths: tuple[tuple[str, _Take], ...]
    content_texts: tuple[tuple[str, _Take], ...]
    content_lists: tuple[tuple[str, _Take, str], ...]


@cache
def _plan(block: Block) -> _Plan:
    columns = columns_of(block)
    takes = {column.field: attrgetter(column.field) for column in columns}
    lists = [column for column in columns if column.many]
    single = [column for column in columns if not column.many]
    texts = [column for column in single if column.type is Type.TEXT]
    return _Plan(
        packed=tuple(
            (c.field, takes[c.field], _packer(c)) for c in single if c.type is not Type.TEXT
        ),
        texts=tuple((c.field, takes[c.field]) for c in texts if not c.content),
        lists=tuple((c.field, takes[c.field], c.packed) for c in lists if not c.content),
        # Any of the lists of one length tells it.
        lengths=tuple({c.lengths: takes[c.field] for c in lists}.items()),
        content_texts=tuple((c.field, takes[c.field]) for c in texts if c.content),
        content_lists=tuple((c.field, takes[c.field], c.packed) for c in lists if c.content),
    )


def _packer(column: Column) -> _Pack:
    dtype, unset = column.packed, column.unset
    if column.among:
        position = {word: at for at, word in enumerate(column.among)}
        return lambda values, _: _pack(list(map(position.__getitem__, values)), dtype)
    if column.type is Type.WORD:
        return lambda values, strings: _pack(list(map(strings, values)), dtype)
    if column.type is Type.SPAN_ID:
        none = NO_SPAN if column.optional else ""
        return lambda values, _: b"".join([_span_id(value or none) for value in values])
    if unset is not None:
        return lambda values, _: _pack([unset if v is None else v for v in values], dtype)
    return lambda values, _: _pack(values, dtype)


def _build_packed(block: Block, given: Sequence[Any], strings: _Dictionary) -> dict[str, bytes]:
    return {
        field: pack(list(map(take, given)), strings) for field, take, pack in _plan(block).packed
    }


def _build_block(block: Block, given: Sequence[Any], strings: _Dictionary) -> dict[str, Any] | None:
    """Calls or rewards; `given` has None for the spans that are none."""
    rows = [row for row, facts in enumerate(given) if facts is not None]
    if not rows:
        return None
    facts = [given[row] for row in rows]
    plan = _plan(block)
    built: dict[str, Any] = {"row": _pack(rows, ROW), **_build_packed(block, facts, strings)}
    for field, take in plan.texts:
        built[field] = list(map(take, facts))
    for field, take in plan.lengths:
        built[field] = _pack([len(take(fact)) for fact in facts], _LENGTH)
    for field, take, dtype in plan.lists:
        built[field] = _pack([value for fact in facts for value in take(fact)], dtype)
    return built


def _build_content(spans: Sequence[Span]) -> dict[str, bytes]:
    content: dict[str, bytes] = {}
    for field, take in _plan(Block.SPANS).content_texts:
        content[f"{field}_offsets"], content[field] = _pack_texts(list(map(take, spans)))
    calls = [span.call for span in spans if span.call is not None]
    for field, take, dtype in _plan(Block.CALLS).content_lists:
        arrays = [np.asarray(take(call), dtype=dtype) for call in calls]
        content[field] = b"".join([array.tobytes() for array in arrays])
    return content


def _build_starts(spans: Sequence[Span]) -> list[dict[str, Any]]:
    return [
        {
            "row": row,
            **{c.field: _plain(getattr(span.start, c.field)) for c in columns_of(Block.STARTS)},
        }
        for row, span in enumerate(spans)
        if span.start is not None
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
