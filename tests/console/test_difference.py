"""Where two texts differ."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.console.difference import MOST, Piece, differences


def test_words_that_only_one_text_has_are_its_own() -> None:
    before, after = differences("<calc>15 - 86</calc>", "<calc>15 + 86</calc>")
    assert [one.text for one in before if one.own] == ["-"]
    assert [one.text for one in after if one.own] == ["+"]


@given(st.text(max_size=80), st.text(max_size=80))
def test_the_pieces_are_the_texts_and_what_is_shared_is_the_same(a: str, b: str) -> None:
    before, after = differences(a, b)
    assert "".join(one.text for one in before) == a
    assert "".join(one.text for one in after) == b
    shared = ["".join(one.text for one in side if not one.own) for side in (before, after)]
    assert shared[0] == shared[1]


def test_a_long_text_is_whole() -> None:
    long = "x " * MOST
    assert differences(long, "y") == ([Piece(text=long, own=False)], [Piece(text="y", own=False)])
