"""Spans as Arrow columns: every field of a batch arrives in its row, from any mix of records."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.schemas import (
    NO_SPAN,
    Call,
    Reward,
    Span,
    SpanColumns,
    Start,
    build_span_batch,
    read_span_batch,
)
from headrace.streams.assemble.columns import SPANS_SCHEMA, LoggedBatch, as_rows, spans_of
from headrace.streams.assemble.keys import span_numbers
from headrace.streams.cells import plain


def make_span(number: int, kind: str = "span", **facts: Any) -> Span:
    facts = {"rollout_id": "r", "attempt": "a", "name": f"name-{number}"} | facts
    return Span(span_id=f"{number:016x}", kind=kind, **facts)


def read(*spans: Span, sequence: int = 0, content: bool = True) -> SpanColumns:
    keys = {(s.project, s.rollout_id, s.attempt) for s in spans}
    record = build_span_batch(
        spans,
        producer="p",
        sequence=sequence,
        episode_batches=dict.fromkeys(keys, 5),
        capture_content=content,
    )
    return read_span_batch(record)


def logged(columns: SpanColumns, offset: int = 0, **rest: Any) -> LoggedBatch:
    return LoggedBatch(columns=columns, partition=3, offset=offset, log_time=1_000 + offset, **rest)


CALL = Call(
    model="m",
    policy="p",
    response_id="chatcmpl-x",
    prompt_ids=np.array([1, 2]),
    sampled_ids=np.array([3, 4, 5]),
    logprobs=np.array([-1.0, -2.0, -3.0]),
    runs=((7, 1), (8, 2)),
    temperature=0.5,
    top_p=0.25,
    top_k=4,
    seed=11,
    max_tokens=9,
    finish_reason="stop",
    trainable=True,
    prompt_base="r/a/0000000000000001",
    prompt_base_length=6,
)


def test_every_column_of_the_table_is_there_in_its_order() -> None:
    batch = spans_of([logged(read(make_span(1)))])
    assert batch.schema == SPANS_SCHEMA
    assert spans_of([]).schema == SPANS_SCHEMA


def test_facts_land_in_the_rows_of_their_spans() -> None:
    first = read(
        make_span(1, "attempt.start", start=Start(group_id="g", group_size=8, policy="q")),
        make_span(2, "call", call=CALL, parent_id=f"{1:016x}", input="in", output="äöü"),
    )
    second = read(
        make_span(3, "reward", reward=Reward(name="right", value=0.5, source="u", target="t")),
        make_span(4, "attempt.end", agent="solver", status="error", subject="s"),
        sequence=1,
    )
    rows = spans_of([logged(first, 4), logged(second, 9)]).to_pylist()
    start, call, reward, end = rows
    assert [row["span_id"] for row in rows] == [f"{i:016x}" for i in (1, 2, 3, 4)]
    assert (start["group_id"], start["group_size"], start["policy"]) == ("g", 8, "q")
    assert (call["policy"], call["model"], call["response_id"]) == ("p", "m", "chatcmpl-x")
    assert (call["run_versions"], call["run_lengths"]) == ([7, 8], [1, 2])
    assert (call["prompt_ids"], call["sampled_ids"]) == ([1, 2], [3, 4, 5])
    assert (call["logprobs"], call["seed"], call["trainable"]) == ([-1, -2, -3], 11, True)
    assert (call["prompt_base_length"], call["top_k"], call["max_tokens"]) == (6, 4, 9)
    assert (call["parent_id"], call["input"], call["output"]) == (f"{1:016x}", "in", "äöü")
    assert (reward["reward_name"], reward["reward_value"]) == ("right", 0.5)
    assert (reward["reward_source"], reward["reward_target"]) == ("u", "t")
    assert (end["kind"], end["agent"], end["status"]) == ("attempt.end", "solver", "error")
    assert [row["last_episode_batch"] for row in rows] == [-1, -1, -1, 5]
    assert [row["subject"] for row in rows] == [None, None, "s", "s"]


def test_calls_may_stand_in_any_order_in_a_batch() -> None:
    other = dataclasses.replace(CALL, sampled_ids=np.array([9]), logprobs=np.array([-4.0]))
    spans = [make_span(1, "call", call=CALL), make_span(2), make_span(3, "call", call=other)]
    columns = read(*spans)
    assert columns.calls is not None
    swapped = {**columns.calls, "row": columns.calls["row"][::-1]}
    for calls, sampled in ((columns.calls, [[3, 4, 5], [], [9]]), (swapped, [[9], [], [3, 4, 5]])):
        batch = spans_of([logged(dataclasses.replace(columns, calls=calls))])
        assert batch.column("sampled_ids").to_pylist() == sampled
        assert [len(some) for some in batch.column("logprobs").to_pylist()] == list(
            map(len, sampled)
        )


def test_cells_are_what_arrow_says_they_are() -> None:
    first = make_span(1, "call", call=CALL, input="äöü", subject="s")
    columns = read(first, make_span(2), make_span(3, "reward", reward=Reward(name="r", value=2.0)))
    batch = spans_of([logged(columns)])
    for rows in (batch, batch.slice(1, 2)):
        for column, name in zip(rows.columns, rows.schema.names, strict=True):
            assert plain(column) == column.to_pylist(), name


def test_the_place_in_the_log_is_in_every_row() -> None:
    rows = spans_of([logged(read(make_span(1)), 4), logged(read(make_span(2)), 9)]).to_pylist()
    assert [(r["partition"], r["offset"], r["ver"], r["log_time"]) for r in rows] == [
        (3, 4, -4, 1_004),
        (3, 9, -9, 1_009),
    ]
    assert {(r["producer"], r["episode_batch"]) for r in rows} == {("p", 5)}


def test_rows_without_a_fact_hold_its_default() -> None:
    (row,) = spans_of([logged(read(make_span(1)))]).to_pylist()
    assert (row["reward_value"], row["seed"], row["subject"]) == (None, None, None)
    assert (row["prompt_ids"], row["run_versions"], row["group_rollouts"]) == ([], [], [])
    assert (row["model"], row["parent_id"], row["trainable"]) == ("", "", False)


def test_a_batch_without_content_has_empty_texts_and_tokens() -> None:
    columns = read(make_span(1, "call", call=CALL, input="in"), make_span(2), content=False)
    call, _ = spans_of([logged(columns)]).to_pylist()
    assert (call["input"], call["sampled_ids"], call["has_content"]) == ("", [], False)
    assert call["response_id"] == "chatcmpl-x"


def test_episodes_of_another_partition_are_left_out() -> None:
    columns = read(make_span(1), make_span(2, rollout_id="elsewhere"), make_span(3))
    batch = spans_of([logged(columns, own=(True, False)), logged(read(make_span(4)), 1)])
    assert [row["rollout_id"] for row in batch.to_pylist()] == ["r", "r", "r"]
    assert span_numbers(batch).tolist() == [1, 3, 4]


def test_a_dictionary_holds_each_word_once_and_only_its_own() -> None:
    batch = spans_of([logged(read(make_span(1))), logged(read(make_span(1), make_span(2)), 1)])
    assert sorted(batch.column("name").dictionary.to_pylist()) == ["name-1", "name-2"]
    assert batch.column("model").dictionary.to_pylist() == [""]


def test_rows_read_back_fit_the_same_layout() -> None:
    batch = spans_of([logged(read(make_span(1), make_span(2, "call", call=CALL)))])
    decoded = [
        pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type)
        for f in SPANS_SCHEMA
    ]
    table = pa.Table.from_batches([batch]).cast(pa.schema(decoded))
    again = as_rows([table], SPANS_SCHEMA)
    assert again.schema == SPANS_SCHEMA
    assert again.to_pylist() == batch.to_pylist()
    assert as_rows([table.slice(0, 0)], SPANS_SCHEMA).num_rows == 0


@pytest.mark.parametrize("rows", [slice(0, 3), slice(1, 3), slice(2, 2)])
def test_span_ids_are_numbers_in_any_slice(rows: slice) -> None:
    batch = spans_of([logged(read(*(make_span(i) for i in (1, 2, 3))))])
    part = batch.slice(rows.start, rows.stop - rows.start)
    assert span_numbers(part).tolist() == [1, 2, 3][rows]


def test_the_id_of_zeros_stays_an_id_and_is_no_parent() -> None:
    span = Span(rollout_id="r", attempt="a", span_id=NO_SPAN, kind="span", name="n")
    (row,) = spans_of([logged(read(span))]).to_pylist()
    assert (row["span_id"], row["parent_id"]) == (NO_SPAN, "")
