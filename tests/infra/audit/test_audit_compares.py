"""An audit's arithmetic: holes in producers' numbers, and spans of one side alone."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.audit.difference import MOST_KEPT, Audit, Kind
from headrace.infra.audit.sequences import Sequences
from headrace.infra.audit.spans import Row, compare, verdict


def row(span: str, offset: int) -> Row:
    return ("p", "r", "a", span, offset, "producer", 0)


def holes(numbers: list[int], first: int | None = 0) -> set[int]:
    sequences = Sequences()
    for number in numbers:
        sequences.add("producer", 3, number)
    found = list(sequences.holes(first))
    assert {(producer, partition) for producer, partition, _ in found} <= {("producer", 3)}
    return {n for *_, (start, end) in found for n in range(start, end + 1)}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_holes_are_the_numbers_that_are_not_there(numbers: list[int]) -> None:
    assert holes(numbers) == set(range(max(numbers))) - set(numbers)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_where_the_log_s_beginning_is_gone_the_first_number_may_be_with_it(
    numbers: list[int],
) -> None:
    assert holes(numbers, first=None) == set(range(min(numbers), max(numbers))) - set(numbers)


def test_each_producer_and_partition_has_numbers_of_its_own() -> None:
    sequences = Sequences()
    for producer, partition, number in [("a", 0, 0), ("b", 0, 0), ("a", 1, 1)]:
        sequences.add(producer, partition, number)
    assert list(sequences.holes(0)) == [("a", 1, (0, 0))]
    assert sequences.producers == 2


ROWS = st.sets(st.builds(row, st.sampled_from("abcd"), st.integers(0, 4)))


@given(log=ROWS, table=ROWS)
def test_whatever_is_on_one_side_alone_is_found(log: set[Row], table: set[Row]) -> None:
    compared = compare(log, table)
    assert (log | compared.only_table) - compared.only_log == table


def test_a_repetition_is_not_lost_and_a_later_place_is_wrong() -> None:
    key = ("p", "r", "a", "s")
    assert verdict(row("s", 5), {key: 3}) == "repeated"
    assert verdict(row("s", 5), {}) == "lost"
    assert verdict(row("s", 5), {key: 7}) == "the table has it at offset 7"


def test_all_differences_are_counted_and_the_first_are_kept() -> None:
    audit = Audit()
    assert audit.clean
    for number in range(MOST_KEPT + 5):
        audit.add(Kind.LOST, str(number), "")
    assert (len(audit.differences), audit.found, audit.clean) == (
        MOST_KEPT,
        {"lost": MOST_KEPT + 5},
        False,
    )
