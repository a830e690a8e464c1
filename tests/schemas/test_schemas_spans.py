"""Span batches: what a producer builds is what a reader sees, and anything else is refused."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.kafka import Registry
from headrace.schemas import (
    KIND,
    KINDS,
    STATUSES,
    Call,
    Codec,
    InvalidId,
    MalformedRecord,
    Reward,
    Span,
    SpanColumns,
    Start,
    Texts,
    build_span_batch,
    new_span_id,
    read_span_batch,
)
from headrace.schemas.span_reader import Lists
from headrace.schemas.spans import Array

TOPIC = "headrace.spans"

ids = st.text("abcXYZ019._:-", min_size=1, max_size=12)
texts = st.text("aä€𝄞 \0", max_size=6)
floats = st.floats(width=32, allow_nan=False)
span_ids = st.binary(min_size=8, max_size=8).map(bytes.hex)
int64 = st.integers(-(2**63), 2**63 - 1)


def tokens(size: int, of: st.SearchStrategy[Any], dtype: Any) -> st.SearchStrategy[Any]:
    return st.lists(of, min_size=size, max_size=size).map(lambda v: np.array(v, dtype=dtype))


@st.composite
def calls(draw: st.DrawFn) -> Call:
    sampled = draw(st.integers(0, 4))
    uint32 = st.integers(0, 2**32 - 1)
    return Call(
        model=draw(texts),
        policy=draw(texts),
        response_id=draw(texts),
        prompt_ids=draw(tokens(draw(st.integers(0, 4)), uint32, np.uint32)),
        sampled_ids=draw(tokens(sampled, uint32, np.uint32)),
        logprobs=draw(tokens(sampled, floats, np.float32)),
        runs=tuple(draw(st.lists(st.tuples(uint32, uint32), max_size=3))),
        temperature=draw(floats),
        top_p=draw(floats),
        top_k=draw(st.integers(-(2**31), 2**31 - 1)),
        seed=draw(st.none() | st.integers(0, 2**63 - 1)),
        max_tokens=draw(st.integers(0, 2**31 - 1)),
        finish_reason=draw(texts),
        trainable=draw(st.booleans()),
        untrainable_reason=draw(texts),
        prompt_base=draw(texts),
        prompt_base_length=draw(uint32),
    )


@st.composite
def spans(draw: st.DrawFn) -> Span:
    kind = draw(st.sampled_from(KINDS))
    start = Start(
        group_id=draw(texts),
        group_size=draw(st.integers(1, 100)),
        group_rollouts=tuple(draw(st.lists(texts, max_size=2))),
        deadline=draw(st.integers(0, 2**62)),
        expected=draw(texts),
    )
    reward = Reward(
        name=draw(texts), value=draw(st.floats()), source=draw(texts), target=draw(texts)
    )
    return Span(
        project=draw(ids),
        rollout_id=draw(st.sampled_from(["r1", "r2"])),
        attempt=draw(ids),
        subject=draw(st.none() | texts.filter(bool)),
        span_id=draw(span_ids),
        parent_id=draw(st.just("") | span_ids),
        kind=kind,
        name=draw(texts),
        agent=draw(texts),
        status=draw(st.sampled_from(STATUSES)),
        started_at=draw(int64),
        ended_at=draw(int64),
        attributes=draw(texts),
        input=draw(texts),
        output=draw(texts),
        start=start if kind == "attempt.start" else None,
        call=draw(calls()) if kind == "call" else None,
        reward=reward if kind == "reward" else None,
    )


def distinct(batch: list[Span]) -> list[Span]:
    return list({(s.project, s.rollout_id, s.attempt, s.span_id): s for s in batch}.values())


@functools.cache
def codec() -> Codec:
    return Codec(Registry("mock://spans"))


def through_the_wire(batch: list[Span], *, content: bool = True) -> SpanColumns:
    keys = {(s.project, s.rollout_id, s.attempt): i for i, s in enumerate(batch)}
    record = build_span_batch(
        batch, producer="01P", sequence=5, episode_batches=keys, capture_content=content
    )
    return read_span_batch(codec().decode(TOPIC, codec().encode(TOPIC, record)))


def list_of(lists: Lists, i: int) -> Array:
    found: Array = lists.values[lists.offsets[i] : lists.offsets[i + 1]]
    return found


def text(of: Texts, row: int) -> str:
    return of.blob[of.offsets[row] : of.offsets[row + 1]].decode()


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(spans(), max_size=5).map(distinct))
def test_a_batch_is_read_as_it_was_built(batch: list[Span]) -> None:
    read = through_the_wire(batch)
    assert (read.producer, read.sequence, read.n) == ("01P", 5, len(batch))
    for row, span in enumerate(batch):
        episode = read.episodes[read.episode[row]]
        key = (episode["project"], episode["rollout_id"], episode["attempt"])
        assert key == (span.project, span.rollout_id, span.attempt)
        same = [s for s in batch if (s.project, s.rollout_id, s.attempt) == key]
        assert (episode["subject"] is None) == all(s.subject is None for s in same)
        assert read.spans["span_id"][row].decode() == span.span_id
        assert read.spans["parent_id"][row].decode() == (span.parent_id or "0" * 16)
        assert KINDS[read.spans["kind"][row]] == span.kind
        assert STATUSES[read.spans["status"][row]] == span.status
        for column in ("name", "agent"):
            assert read.strings[read.spans[column][row]] == getattr(span, column)
        for column in ("started_at", "ended_at"):
            assert read.spans[column][row] == getattr(span, column)
        for column in ("attributes", "input", "output"):
            assert text(read.texts[column], row) == getattr(span, column)
    _assert_calls(read, batch)
    _assert_rewards(read, batch)
    assert [start["row"] for start in read.starts] == _rows(batch, "attempt.start")
    for start in read.starts:
        facts = batch[start["row"]].start
        assert facts is not None
        assert tuple(start.pop("group_rollouts")) == facts.group_rollouts
        assert all(getattr(facts, name) == v for name, v in start.items() if name != "row")
    assert [end["row"] for end in read.ends] == _rows(batch, "attempt.end")


def _rows(batch: list[Span], kind: str) -> list[int]:
    return [row for row, span in enumerate(batch) if span.kind == kind]


def _assert_calls(read: SpanColumns, batch: list[Span]) -> None:
    rows = _rows(batch, "call")
    if not rows:
        assert read.calls is None
        return
    block = read.calls
    assert block is not None
    assert block["row"].tolist() == rows
    for i, row in enumerate(rows):
        call = batch[row].call
        assert call is not None
        for name in ("model", "policy", "finish_reason", "untrainable_reason"):
            assert read.strings[block[name][i]] == getattr(call, name)
        for name in ("response_id", "prompt_base", "top_k", "max_tokens", "prompt_base_length"):
            assert block[name][i] == getattr(call, name)
        assert block["temperature"][i] == np.float32(call.temperature)
        assert block["top_p"][i] == np.float32(call.top_p)
        assert block["seed"][i] == (-1 if call.seed is None else call.seed)
        assert bool(block["trainable"][i]) == call.trainable
        versions, lengths = (list_of(block[name], i) for name in ("run_versions", "run_lengths"))
        assert tuple(zip(versions.tolist(), lengths.tolist(), strict=True)) == call.runs
        for name in ("prompt_ids", "sampled_ids", "logprobs"):
            np.testing.assert_array_equal(list_of(block[name], i), getattr(call, name))


def _assert_rewards(read: SpanColumns, batch: list[Span]) -> None:
    rows = _rows(batch, "reward")
    if not rows:
        assert read.rewards is None
        return
    block = read.rewards
    assert block is not None
    assert block["row"].tolist() == rows
    for i, row in enumerate(rows):
        reward = batch[row].reward
        assert reward is not None
        assert read.strings[block["reward_name"][i]] == reward.name
        assert read.strings[block["reward_source"][i]] == reward.source
        assert block["reward_target"][i] == reward.target
        value = float(block["reward_value"][i])
        assert value == reward.value or (math.isnan(value) and math.isnan(reward.value))


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(spans(), min_size=1, max_size=4).map(distinct))
def test_without_content_the_facts_stay_and_texts_and_tokens_go(batch: list[Span]) -> None:
    read = through_the_wire(batch, content=False)
    assert read.n == len(batch)
    assert not read.has_content
    assert read.texts["input"].blob == b""
    if read.calls is not None:
        for name in ("prompt_ids", "sampled_ids", "logprobs"):
            assert read.calls[name].values.size == 0


def example() -> dict[str, Any]:
    call = Call(
        prompt_ids=np.array([1, 2], np.uint32),
        sampled_ids=np.array([3, 4, 5], np.uint32),
        logprobs=np.array([-1, -2, -3], np.float32),
        runs=((0, 2), (1, 1)),
        model="m",
    )
    common: dict[str, Any] = {"rollout_id": "r1", "attempt": "a1", "input": "añ", "output": "x"}
    batch = [
        Span(span_id=new_span_id(), kind="attempt.start", name="s", start=Start(), **common),
        Span(span_id=new_span_id(), kind="call", name="c", call=call, **common),
        Span(span_id=new_span_id(), kind="reward", name="r", reward=Reward(name="ok", value=1),
             **common),
        Span(span_id=new_span_id(), kind="attempt.end", name="e", **common),
    ]  # fmt: skip
    return build_span_batch(
        batch, producer="p", sequence=0, episode_batches={("default", "r1", "a1"): 0}
    )


BYTE_COLUMNS = [
    *(("", name) for name in (
        "episode", "span_id", "parent_id", "kind", "name", "agent", "status", "started_at",
        "ended_at",
    )),
    *(("calls", name) for name in (
        "row", "model", "policy", "finish_reason", "untrainable_reason", "trainable",
        "temperature", "top_p", "top_k", "seed", "max_tokens", "prompt_base_length",
        "prompt_length", "sampled_length", "run_count", "run_version", "run_length",
    )),
    *(("rewards", name) for name in ("row", "name", "value", "source")),
    *(("content", name) for name in (
        "attributes_offsets", "input_offsets", "output_offsets", "prompt_ids", "sampled_ids",
        "logprobs", "input", "output",
    )),
]  # fmt: skip


def block_of(record: dict[str, Any], block: str) -> dict[str, Any]:
    found: dict[str, Any] = record[block] if block else record
    return found


@pytest.mark.parametrize(("block", "name"), BYTE_COLUMNS)
@pytest.mark.parametrize("damage", ["short", "long"])
def test_a_column_of_the_wrong_length_is_refused(block: str, name: str, damage: str) -> None:
    record = example()
    read_span_batch(record)  # the example itself is sound
    source = block_of(record, block)
    source[name] = source[name][:-1] if damage == "short" else source[name] + b"\0"
    with pytest.raises(MalformedRecord):
        read_span_batch(record)


INDEX_COLUMNS = [
    ("", "episode", "<u2"),
    ("", "name", "<u2"),
    ("", "agent", "<u2"),
    ("", "kind", "u1"),
    ("", "status", "u1"),
    ("calls", "row", "<u4"),
    ("calls", "model", "<u2"),
    ("calls", "policy", "<u2"),
    ("calls", "finish_reason", "<u2"),
    ("calls", "untrainable_reason", "<u2"),
    ("calls", "trainable", "u1"),
    ("rewards", "row", "<u4"),
    ("rewards", "name", "<u2"),
    ("rewards", "source", "<u2"),
]


@pytest.mark.parametrize(("block", "name", "dtype"), INDEX_COLUMNS)
def test_an_index_beyond_its_values_is_refused(block: str, name: str, dtype: str) -> None:
    record = example()
    source = block_of(record, block)
    column = np.frombuffer(source[name], dtype).copy()
    column[-1] = 250
    source[name] = column.tobytes()
    with pytest.raises(MalformedRecord, match=name):
        read_span_batch(record)


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.__setitem__(name, value)


def _content(name: str, value: bytes) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["content"].__setitem__(name, value)


def offsets(*values: int) -> bytes:
    return np.array(values, "<i4").tobytes()


OTHER_DAMAGE: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("negative n", _set("n", -1)),
    ("n too large", _set("n", 5)),
    ("a start beyond the rows", lambda r: r["starts"][0].__setitem__("row", 4)),
    ("an end before the rows", lambda r: r["ends"][0].__setitem__("row", -1)),
    ("an illegal rollout", lambda r: r["episodes"][0].__setitem__("rollout_id", "a b")),
    ("an illegal attempt", lambda r: r["episodes"][0].__setitem__("attempt", "")),
    ("an illegal project", lambda r: r["episodes"][0].__setitem__("project", "p/q")),
    ("a repeated span id", lambda r: r.__setitem__("span_id", r["span_id"][:8] * 4)),
    ("offsets that begin late", _content("output_offsets", offsets(1, 1, 2, 3, 4))),
    ("offsets that fall", _content("output_offsets", offsets(0, 2, 1, 3, 4))),
    ("offsets below zero", _content("output_offsets", offsets(0, -1, 2, 3, 4))),
    ("offsets beyond the text", _content("output_offsets", offsets(0, 1, 2, 3, 9))),
    ("an offset inside a character", _content("input_offsets", offsets(0, 2, 6, 9, 12))),
    ("text that is not UTF-8", _content("output", b"\xff\xff\xff\xff")),
    ("a missing response id", lambda r: r["calls"]["response_id"].clear()),
    ("a missing prompt base", lambda r: r["calls"]["prompt_base"].clear()),
    ("a missing target", lambda r: r["rewards"]["target"].clear()),
]


@pytest.mark.parametrize(
    "damage", [damage for _, damage in OTHER_DAMAGE], ids=[name for name, _ in OTHER_DAMAGE]
)
def test_every_other_damage_is_refused(damage: Callable[[dict[str, Any]], None]) -> None:
    record = copy.deepcopy(example())
    damage(record)
    with pytest.raises(MalformedRecord):
        read_span_batch(record)


def test_an_empty_batch_is_a_batch() -> None:
    assert through_the_wire([]).n == 0


def test_a_producer_cannot_build_what_a_reader_would_refuse() -> None:
    for fields in ({"rollout_id": "a b"}, {"span_id": "xyz"}, {"project": ""}):
        values: dict[str, Any] = {
            "rollout_id": "r",
            "attempt": "a",
            "span_id": "0" * 15 + "1",
        } | fields
        span = Span(kind="event", name="n", **values)
        with pytest.raises(InvalidId):
            build_span_batch(
                [span],
                producer="p",
                sequence=0,
                episode_batches={(span.project, span.rollout_id, span.attempt): 0},
            )


def test_kinds_keep_their_numbers() -> None:
    assert {name: KIND[name] for name in KINDS} == {
        "span": 0,
        "attempt.start": 1,
        "attempt.end": 2,
        "call": 3,
        "tool": 4,
        "reward": 5,
        "event": 6,
        "exception": 7,
        "call.context": 8,
    }
