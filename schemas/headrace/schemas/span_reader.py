"""Reading a SpanBatch: numpy views over the record's bytes, every length and index checked.

Whatever passes `read_span_batch` can be used without looking again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.schemas.errors import InvalidId, MalformedRecord
from headrace.schemas.ids import check_id
from headrace.schemas.spans import KINDS, STATUSES, Array

_FEW = 64


@dataclass(kw_only=True, slots=True, frozen=True)
class Texts:
    """n UTF-8 texts: int32 offsets [n + 1] into a blob, as Arrow lays them out."""

    offsets: Array
    blob: bytes


@dataclass(kw_only=True, slots=True, frozen=True)
class CallColumns:
    """Call facts of a batch, [m] each; `*_offsets` [m + 1] delimit the token columns."""

    row: Array
    model: Array
    policy: Array
    finish_reason: Array
    untrainable_reason: Array
    trainable: Array
    response_id: list[str]
    temperature: Array
    top_p: Array
    top_k: Array
    seed: Array
    max_tokens: Array
    prompt_base: list[str]
    prompt_base_length: Array
    run_offsets: Array
    run_version: Array
    run_length: Array
    prompt_offsets: Array
    sampled_offsets: Array
    prompt_ids: Array
    sampled_ids: Array
    logprobs: Array


@dataclass(kw_only=True, slots=True, frozen=True)
class RewardColumns:
    """Reward facts of a batch, [m] each."""

    row: Array
    name: Array
    value: Array
    source: Array
    target: list[str]


@dataclass(kw_only=True, slots=True, frozen=True)
class SpanColumns:
    """A read SpanBatch: numpy views over the record's bytes, [n] each unless said.

    `name`, `agent` and the index columns of `calls` and `rewards` point into `strings`;
    `episode` points into `episodes` (plain dictionaries: project, rollout_id, attempt, subject,
    episode_batch). `span_id` and `parent_id` are `S16` hexadecimal digits.
    """

    producer: str
    sequence: int
    n: int
    strings: list[str]
    episodes: list[dict[str, Any]]
    episode: Array
    span_id: Array
    parent_id: Array
    kind: Array
    name: Array
    agent: Array
    status: Array
    started_at: Array
    ended_at: Array
    calls: CallColumns | None
    rewards: RewardColumns | None
    starts: list[dict[str, Any]]
    ends: list[dict[str, Any]]
    attributes: Texts
    input: Texts
    output: Texts
    has_content: bool


def read_span_batch(record: Mapping[str, Any]) -> SpanColumns:
    """Columns of a decoded SpanBatch; raises MalformedRecord naming the column at fault.

    A span id that stands twice for one episode in the batch is an error of the producer: the
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
    calls = _read_calls(record["calls"], content, n, len(strings))
    columns = SpanColumns(
        producer=record["producer"],
        sequence=record["sequence"],
        n=n,
        strings=strings,
        episodes=episodes,
        episode=_column(record, "episode", "<u2", n, limit=len(episodes)),
        span_id=_hex_column(record, "span_id", n),
        parent_id=_hex_column(record, "parent_id", n),
        kind=_column(record, "kind", "u1", n, limit=len(KINDS)),
        name=_column(record, "name", "<u2", n, limit=len(strings)),
        agent=_column(record, "agent", "<u2", n, limit=len(strings)),
        status=_column(record, "status", "u1", n, limit=len(STATUSES)),
        started_at=_column(record, "started_at", "<i8", n),
        ended_at=_column(record, "ended_at", "<i8", n),
        calls=calls,
        rewards=_read_rewards(record["rewards"], n, len(strings)),
        starts=_checked_rows(record["starts"], "starts", n),
        ends=_checked_rows(record["ends"], "ends", n),
        attributes=_texts(content, "attributes", n),
        input=_texts(content, "input", n),
        output=_texts(content, "output", n),
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
        raise MalformedRecord("SpanBatch.span_id: a span id stands twice for one episode")


def _column(
    source: Mapping[str, Any], name: str, dtype: str, n: int, limit: int | None = None
) -> Array:
    data = source[name]
    if len(data) != n * np.dtype(dtype).itemsize:
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
        return Texts(offsets=np.zeros(n + 1, dtype="<i4"), blob=b"")
    offsets = _column(content, f"{name}_offsets", "<i4", n + 1)
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


def _read_calls(
    block: Mapping[str, Any] | None, content: Mapping[str, Any] | None, n: int, strings: int
) -> CallColumns | None:
    if block is None:
        return None
    m = len(block["row"]) // 4
    if len(block["response_id"]) != m or len(block["prompt_base"]) != m:
        raise MalformedRecord(f"calls: response_id and prompt_base must have {m} entries")
    runs = _offsets(_column(block, "run_count", "<u4", m))
    prompts = _offsets(_column(block, "prompt_length", "<u4", m))
    sampled = _offsets(_column(block, "sampled_length", "<u4", m))
    if content is None:  # captured without content: the lengths stay known, the tokens do not
        empty = np.zeros(m + 1, dtype=np.int64)
        tokens = {"prompt_ids": b"", "sampled_ids": b"", "logprobs": b""}
        prompts, sampled = empty, empty
    else:
        tokens = {name: content[name] for name in ("prompt_ids", "sampled_ids", "logprobs")}
    total_runs = int(runs[-1])
    return CallColumns(
        row=_column(block, "row", "<u4", m, limit=n),
        model=_column(block, "model", "<u2", m, limit=strings),
        policy=_column(block, "policy", "<u2", m, limit=strings),
        finish_reason=_column(block, "finish_reason", "<u2", m, limit=strings),
        untrainable_reason=_column(block, "untrainable_reason", "<u2", m, limit=strings),
        trainable=_column(block, "trainable", "u1", m, limit=2),
        response_id=block["response_id"],
        temperature=_column(block, "temperature", "<f4", m),
        top_p=_column(block, "top_p", "<f4", m),
        top_k=_column(block, "top_k", "<i4", m),
        seed=_column(block, "seed", "<i8", m),
        max_tokens=_column(block, "max_tokens", "<i4", m),
        prompt_base=block["prompt_base"],
        prompt_base_length=_column(block, "prompt_base_length", "<u4", m),
        run_offsets=runs,
        run_version=_column(block, "run_version", "<u4", total_runs),
        run_length=_column(block, "run_length", "<u4", total_runs),
        prompt_offsets=prompts,
        sampled_offsets=sampled,
        prompt_ids=_column(tokens, "prompt_ids", "<u4", int(prompts[-1])),
        sampled_ids=_column(tokens, "sampled_ids", "<u4", int(sampled[-1])),
        logprobs=_column(tokens, "logprobs", "<f4", int(sampled[-1])),
    )


def _read_rewards(block: Mapping[str, Any] | None, n: int, strings: int) -> RewardColumns | None:
    if block is None:
        return None
    m = len(block["row"]) // 4
    if len(block["target"]) != m:
        raise MalformedRecord(f"rewards: target must have {m} entries")
    return RewardColumns(
        row=_column(block, "row", "<u4", m, limit=n),
        name=_column(block, "name", "<u2", m, limit=strings),
        value=_column(block, "value", "<f8", m),
        source=_column(block, "source", "<u2", m, limit=strings),
        target=block["target"],
    )
