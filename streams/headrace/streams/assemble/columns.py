"""Spans as Arrow columns: the layout of the table `spans`, built from the batches' buffers.

The same layout comes back from ClickHouse on a rebuild, so one code path folds both. Work is per
record and per call; nothing here loops over spans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.schemas import KINDS, NO_SPAN, STATUSES, CallColumns, RewardColumns, SpanColumns
from headrace.schemas.spans import Array

_WORD = pa.dictionary(pa.int32(), pa.string())  # LowCardinality(String)

SPANS_SCHEMA = pa.schema(
    {
        "project": _WORD,
        "rollout_id": pa.string(),
        "attempt": pa.string(),
        "span_id": pa.string(),
        "subject": pa.string(),
        "partition": pa.uint32(),
        "offset": pa.uint64(),
        "log_time": pa.int64(),
        "ver": pa.int64(),
        "producer": pa.string(),
        "sequence": pa.uint64(),
        "episode_batch": pa.uint32(),
        "parent_id": pa.string(),
        "kind": _WORD,
        "name": _WORD,
        "agent": _WORD,
        "status": _WORD,
        "started_at": pa.int64(),
        "ended_at": pa.int64(),
        "model": _WORD,
        "policy": _WORD,
        "response_id": pa.string(),
        "run_versions": pa.list_(pa.uint32()),
        "run_lengths": pa.list_(pa.uint32()),
        "temperature": pa.float32(),
        "top_p": pa.float32(),
        "top_k": pa.int32(),
        "seed": pa.int64(),
        "max_tokens": pa.int32(),
        "finish_reason": _WORD,
        "trainable": pa.bool_(),
        "untrainable_reason": _WORD,
        "prompt_base": pa.string(),
        "prompt_base_length": pa.uint32(),
        "reward_name": _WORD,
        "reward_value": pa.float64(),
        "reward_source": _WORD,
        "reward_target": pa.string(),
        "group_id": pa.string(),
        "group_size": pa.uint32(),
        "group_rollouts": pa.list_(pa.string()),
        "split": _WORD,
        "deadline": pa.int64(),
        "expected": pa.string(),
        "last_episode_batch": pa.int32(),
        "has_content": pa.bool_(),
        "attributes": pa.string(),
        "input": pa.string(),
        "output": pa.string(),
        "prompt_ids": pa.list_(pa.uint32()),
        "sampled_ids": pa.list_(pa.uint32()),
        "logprobs": pa.list_(pa.float32()),
    }
)


@dataclass(kw_only=True, slots=True, frozen=True)
class LoggedBatch:
    """A read SpanBatch with its place in the log.

    `own`: which of the batch's episodes live in this partition, one bool each; None: all do.
    """

    columns: SpanColumns
    partition: int
    offset: int
    log_time: int
    own: tuple[bool, ...] | None = None


def spans_of(records: Sequence[LoggedBatch]) -> pa.RecordBatch:
    """All spans of some records, in order, as one batch of SPANS_SCHEMA."""
    if not records:
        return pa.RecordBatch.from_pylist([], schema=SPANS_SCHEMA)
    batch = _Take(records).build()
    if any(record.own is not None for record in records):
        batch = batch.filter(_own_rows(records))
    return batch


def as_spans(table: pa.Table) -> pa.RecordBatch:
    """Rows read back from the table `spans`, in the layout of `spans_of`."""
    batches = table.select(SPANS_SCHEMA.names).cast(SPANS_SCHEMA).combine_chunks().to_batches()
    return batches[0] if batches else spans_of([])


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
        used = np.flatnonzero(np.bincount(indices, minlength=len(words)))
        place = np.zeros(len(words), np.int32)
        place[used] = np.arange(len(used), dtype=np.int32)
        dictionary = pa.array([words[i] for i in used], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(place[indices]), dictionary)


class _Take:
    """One concatenation of records, column by column."""

    def __init__(self, records: Sequence[LoggedBatch]) -> None:
        self.records = records
        self.parts = [record.columns for record in records]
        self.sizes = np.array([part.n for part in self.parts])
        self.bases = np.concatenate([[0], np.cumsum(self.sizes)])
        self.n = int(self.bases[-1])
        self.words = _Words()
        self.maps = [self.words.indices(part.strings) for part in self.parts]
        self.columns: dict[str, Any] = {}

    def build(self) -> pa.RecordBatch:
        self._log()
        self._episodes()
        self._plain()
        policy = np.zeros(self.n, np.int32)
        self._calls(policy)
        self._rewards()
        self._starts(policy)
        self._ends()
        self.columns["policy"] = self.words.column(policy)
        self._texts()
        arrays = [self.columns[name] for name in SPANS_SCHEMA.names]
        return pa.RecordBatch.from_arrays(arrays, schema=SPANS_SCHEMA)

    def _log(self) -> None:
        records, columns = self.records, self.columns
        offset = self._repeat([record.offset for record in records], np.uint64)
        columns["partition"] = pa.array(self._repeat([r.partition for r in records], np.uint32))
        columns["offset"] = pa.array(offset)
        columns["ver"] = pa.array(-offset.astype(np.int64))
        columns["log_time"] = pa.array(self._repeat([r.log_time for r in records], np.int64))
        columns["sequence"] = pa.array(
            self._repeat([part.sequence for part in self.parts], np.int64).astype(np.uint64)
        )
        columns["producer"] = pa.array([part.producer for part in self.parts], pa.string()).take(
            pa.array(self._repeat(range(len(records)), np.int64))
        )
        columns["has_content"] = pa.array(self._repeat([p.has_content for p in self.parts], bool))

    def _repeat(self, values: Sequence[Any], dtype: Any) -> Array:
        return np.repeat(np.array(values, dtype=dtype), self.sizes)

    def _episodes(self) -> None:
        episodes = [episode for part in self.parts for episode in part.episodes]
        first = np.cumsum([0, *(len(part.episodes) for part in self.parts)])
        rows = pa.array(
            np.concatenate([part.episode + first[i] for i, part in enumerate(self.parts)])
        )
        for name in ("rollout_id", "attempt", "subject"):
            self.columns[name] = pa.array([e[name] for e in episodes], pa.string()).take(rows)
        projects = self.words.indices([e["project"] for e in episodes])
        self.columns["project"] = self.words.column(projects[rows.to_numpy()])
        batches = np.array([e["episode_batch"] for e in episodes], np.int64).astype(np.uint32)
        self.columns["episode_batch"] = pa.array(batches[rows.to_numpy()])

    def _plain(self) -> None:
        parts, columns = self.parts, self.columns
        columns["span_id"] = _hex_column(np.concatenate([part.span_id for part in parts]), "")
        parents = np.concatenate([part.parent_id for part in parts])
        columns["parent_id"] = _hex_column(parents, NO_SPAN)
        for name in ("name", "agent"):
            indices = [m[getattr(part, name)] for m, part in zip(self.maps, parts, strict=True)]
            columns[name] = self.words.column(np.concatenate(indices))
        for name, names in (("kind", KINDS), ("status", STATUSES)):
            indices = np.concatenate([getattr(part, name) for part in parts]).astype(np.int32)
            columns[name] = pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(names))
        for name in ("started_at", "ended_at"):
            columns[name] = pa.array(np.concatenate([getattr(part, name) for part in parts]))

    def _texts(self) -> None:
        for name in ("attributes", "input", "output"):
            texts = [getattr(part, name) for part in self.parts]
            lengths = np.concatenate([text.offsets[1:] - text.offsets[:-1] for text in texts])
            blob = b"".join(text.blob for text in texts)
            self.columns[name] = pa.StringArray.from_buffers(
                self.n, pa.py_buffer(_offsets(lengths)), pa.py_buffer(blob)
            )

    def _scatter(self, row: Sequence[Array], block: dict[str, Any]) -> None:
        """Spread a block with one default entry in front over the rows of the take."""
        index = np.zeros(self.n, np.int64)
        if row:
            rows = np.concatenate(row)
            index[rows] = np.arange(1, len(rows) + 1)
        indices = pa.array(index)
        for name, values in block.items():
            self.columns[name] = values.take(indices)

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

    def _calls(self, policy: Array) -> None:
        found: list[tuple[int, CallColumns]] = [
            (i, part.calls) for i, part in enumerate(self.parts) if part.calls is not None
        ]
        calls = [call for _, call in found]
        rows = [call.row.astype(np.int64) + self.bases[i] for i, call in found]

        def words(name: str) -> Array:
            return _led(0, [self.maps[i][getattr(call, name)] for i, call in found], np.int32)

        def values(name: str, default: Any, dtype: Any) -> pa.Array:
            return pa.array(_led(default, [getattr(call, name) for call in calls], dtype))

        def texts(name: str) -> pa.Array:
            return pa.array(["", *(t for c in calls for t in getattr(c, name))], pa.string())

        def lists(offsets: str, name: str, dtype: Any) -> tuple[Array, Array]:
            bounds = [getattr(call, offsets) for call in calls]
            lengths = [bound[1:] - bound[:-1] for bound in bounds]
            values = [getattr(call, name) for call in calls]
            return _joined(lengths, np.int64), _joined(values, dtype)

        seed = _led(-1, [call.seed for call in calls], np.int64)
        block = {
            "response_id": texts("response_id"),
            "prompt_base": texts("prompt_base"),
            "temperature": values("temperature", 0, np.float32),
            "top_p": values("top_p", 0, np.float32),
            "top_k": values("top_k", 0, np.int32),
            "seed": pa.array(seed, mask=seed == -1),
            "max_tokens": values("max_tokens", 0, np.int32),
            "trainable": values("trainable", False, np.bool_),
            "prompt_base_length": values("prompt_base_length", 0, np.uint32),
        }
        for name in ("model", "finish_reason", "untrainable_reason"):
            block[name] = self.words.column(words(name))
        self._scatter(rows, block)
        self._spread(
            rows,
            {
                "run_versions": lists("run_offsets", "run_version", np.uint32),
                "run_lengths": lists("run_offsets", "run_length", np.uint32),
                "prompt_ids": lists("prompt_offsets", "prompt_ids", np.uint32),
                "sampled_ids": lists("sampled_offsets", "sampled_ids", np.uint32),
                "logprobs": lists("sampled_offsets", "logprobs", np.float32),
            },
        )
        if rows:
            policy[np.concatenate(rows)] = words("policy")[1:]

    def _rewards(self) -> None:
        found: list[tuple[int, RewardColumns]] = [
            (i, part.rewards) for i, part in enumerate(self.parts) if part.rewards is not None
        ]
        rewards = [reward for _, reward in found]
        rows = [reward.row.astype(np.int64) + self.bases[i] for i, reward in found]
        value = _led(0, [reward.value for reward in rewards], np.float64)
        absent = np.zeros(len(value), bool)
        absent[0] = True
        block = {
            "reward_value": pa.array(value, mask=absent),
            "reward_target": pa.array(["", *(t for r in rewards for t in r.target)], pa.string()),
        }
        for name in ("name", "source"):
            indices = _led(0, [self.maps[i][getattr(r, name)] for i, r in found], np.int32)
            block[f"reward_{name}"] = self.words.column(indices)
        self._scatter(rows, block)

    def _starts(self, policy: Array) -> None:
        starts = [start for part in self.parts for start in part.starts]
        rows = [
            np.array([start["row"] for start in part.starts], np.int64) + base
            for part, base in zip(self.parts, self.bases, strict=False)
            if part.starts
        ]
        sizes = [max(1, start["group_size"]) for start in starts]
        splits = self.words.indices(["", *(start["split"] for start in starts)])
        block = {
            "group_id": pa.array(["", *(start["group_id"] for start in starts)], pa.string()),
            "group_size": pa.array([0, *sizes], pa.uint32()),
            "group_rollouts": pa.array(
                [[], *(start["group_rollouts"] for start in starts)], pa.list_(pa.string())
            ),
            "split": self.words.column(splits),
            "deadline": pa.array([0, *(start["deadline"] for start in starts)], pa.int64()),
            "expected": pa.array(["", *(start["expected"] for start in starts)], pa.string()),
        }
        self._scatter(rows, block)
        if rows:
            policy[np.concatenate(rows)] = self.words.indices([s["policy"] for s in starts])

    def _ends(self) -> None:
        last = np.full(self.n, -1, np.int32)
        for part, base in zip(self.parts, self.bases, strict=False):
            for end in part.ends:
                last[base + end["row"]] = max(0, end["last_episode_batch"])
        self.columns["last_episode_batch"] = pa.array(last)


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
