"""A filter of ids: none missing, few too many, and everything when it is full."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.streams.known import Known, number_of

TEXTS = st.lists(st.text(max_size=20), max_size=50)


@given(TEXTS, TEXTS, st.sampled_from([8, 64, 1 << 12]))
def test_what_was_noted_is_known_in_any_size(noted: list[str], more: list[str], bits: int) -> None:
    known = Known(bits)
    known.note(noted)
    known.note(more)
    assert known.among([*noted, *more]) == [*noted, *more]


def test_what_was_not_noted_is_seldom_known() -> None:
    known = Known(1 << 16)
    known.note([f"p/r{n}/a" for n in range(1_000)])
    assert len(known.among([f"p/other{n}/a" for n in range(1_000)])) < 10
    assert Known().among(["p/r/a"]) == []


def test_a_full_filter_knows_everything() -> None:
    known = Known(8)
    known.note([str(n) for n in range(100)])
    assert known.among(["a", "b"]) == ["a", "b"]


def test_the_number_is_that_of_clickhouse() -> None:
    # SELECT halfMD5('default/r1/a')
    assert number_of("default/r1/a") == 10601057901707830367
