"""A take's spans say the same whether they are in their records or in rows of the table."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas import Span, Start, build_span_batch, read_span_batch
from headrace.streams.assemble import spans as module
from headrace.streams.assemble.columns import LoggedBatch, spans_of
from headrace.streams.assemble.keys import Grouped
from headrace.streams.assemble.spans import Spans, blocks, chosen_rows
from tests.streams.assembling import plain

KINDS = ("span", "attempt.start", "attempt.end", "reward")
record_of = st.lists(
    st.tuples(st.sampled_from("rst"), st.sampled_from(KINDS[:3]), st.integers(0, 3)),
    min_size=1,
    max_size=4,
)
log_of = st.lists(record_of, min_size=1, max_size=6)


def span(number: int, rollout: str, kind: str, deadline: int) -> Span:
    start = Start(deadline=deadline) if kind == "attempt.start" else None
    return plain(number, kind, rollout, start=start)


def logged(log: Sequence[Sequence[tuple[str, str, int]]]) -> list[LoggedBatch]:
    found = []
    for offset, some in enumerate(log):
        spans = [span(10 * offset + i, *facts) for i, facts in enumerate(some)]
        numbers = {("default", rollout, "a"): offset for rollout in "rst"}
        batch = build_span_batch(spans, producer="p", sequence=offset, episode_batches=numbers)
        columns = read_span_batch(batch)
        found.append(
            LoggedBatch(columns=columns, partition=3, offset=offset, log_time=1_000 + offset)
        )
    return found


def by_key(grouped: Grouped) -> dict[str, list[tuple[object, ...]]]:
    names = ("row", "span_id", "mixed", "log_time", "ended", "bound", "partition")
    rows = list(zip(*(getattr(grouped, name).tolist() for name in names), strict=True))
    bounds = grouped.starts.tolist()
    return {key: rows[bounds[i] : bounds[i + 1]] for i, key in enumerate(grouped.keys)}


@given(log_of)
def test_records_are_grouped_as_their_rows_are(log: list[list[tuple[str, str, int]]]) -> None:
    records = logged(log)
    held, built = Spans(records), Spans(rows=spans_of(records))
    assert (held.are_rows, built.are_rows) == (False, True)
    assert held.n == built.n
    assert by_key(held.grouped) == by_key(built.grouped)


@given(st.data(), st.lists(log_of, min_size=1, max_size=4))
def test_chosen_spans_are_the_same_rows_in_any_form(
    data: st.DataObject, logs: list[list[list[tuple[str, str, int]]]]
) -> None:
    takes, expected = [], []
    for log in logs:
        records = logged(log)
        spans = Spans(records)
        if data.draw(st.booleans()):
            assert spans.rows.num_rows == spans.n  # makes them rows
        chosen = data.draw(st.lists(st.integers(0, spans.n - 1), min_size=1, unique=True))
        takes.append((spans, np.array(sorted(chosen))))
        expected += spans_of(records).take(pa.array(sorted(chosen))).to_pylist()
    found = [batch.take(pa.array(rows)).to_pylist() for batch, rows in chosen_rows(takes)]
    assert [row for some in found for row in some] == expected
    stored = [row for batch in blocks([spans for spans, _ in takes]) for row in batch.to_pylist()]
    assert stored == [row for log in logs for row in spans_of(logged(log)).to_pylist()]


def test_an_episode_that_a_record_names_and_holds_nothing_of_has_no_key() -> None:
    (record,) = logged([[("r", "span", 0), ("s", "span", 0)]])
    columns = dataclasses.replace(record.columns, episode=np.zeros(2, np.uint16))
    assert Spans([dataclasses.replace(record, columns=columns)]).grouped.keys == ["default/r/a"]


def test_a_large_take_is_rows_at_once_and_one_with_others_spans_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = logged([[("r", "span", 0), ("s", "span", 0)], [("r", "span", 0)]])
    assert not Spans(records).are_rows
    mixed = Spans([dataclasses.replace(records[0], own=(True, False)), records[1]])
    assert mixed.are_rows
    assert mixed.grouped.keys == ["default/r/a"]
    assert mixed.n == 2
    monkeypatch.setattr(module, "_FEW", 2)
    assert Spans(records).are_rows


def test_nothing_is_nothing() -> None:
    assert (Spans().n, Spans().grouped.keys, Spans().rows.num_rows) == (0, [], 0)
    assert blocks([Spans(), Spans()]) == []


class MadeRowsMeanwhile(Spans):
    """Spans that a fold makes rows of while a block is made of them."""

    @property
    def records(self) -> Sequence[LoggedBatch]:
        """The records, as they were before the fold."""
        held = super().records
        assert self.rows.num_rows == self.n
        return held

    @property
    def are_rows(self) -> bool:
        """What was true before the fold."""
        held = super().are_rows
        assert self.rows.num_rows == self.n
        return held


def test_a_block_has_all_spans_though_a_fold_makes_rows_of_them() -> None:
    records = logged([[("r", "span", 0), ("s", "span", 0)], [("r", "span", 0)]])
    (block,) = blocks([MadeRowsMeanwhile(records)])
    assert block.to_pylist() == spans_of(records).to_pylist()
