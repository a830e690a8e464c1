"""Tokens: their texts, and how a colour is read."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.console.tokens import (
    ANNOTATED,
    AT_ONCE,
    COLOURS,
    LEGENDS,
    MOST,
    Token,
    shown,
    surprise,
    text_of,
    tokens_of,
)


def row(number: int, text: bytes = b"x", **facts: Any) -> tuple[Any, ...]:
    names = ("logprob", "version", "advantage", "trainer", "gap", "entropy", "masked")
    return (number, text.hex(), *(facts.get(name) for name in names))


def looks(colour: str, *values: float | None) -> list[str]:
    name = {"log-probability": "logprob"}.get(colour, colour)
    return [
        one.look(colour) for one in tokens_of([row(1, b"x", **{name: value}) for value in values])
    ]


def test_tokens_know_their_text_how_likely_they_were_and_which_version_sampled_them() -> None:
    made = tokens_of([
        row(7, b" four", logprob=-0.01, version=4), row(8, b"\n", logprob=-1.0, version=5),
        row(9, b"", version=5),
    ])  # fmt: skip
    assert [one.text for one in made] == [" four", "⏎", "⟨9⟩"]
    assert [one.look("log-probability") for one in made] == ["p0", "p2", "p0"]
    assert [one.look("version") for one in made] == ["v0", "v1", "v1"]
    assert made[0].about == "token 7, log-probability -0.01, version 4"
    assert made[2].about == "token 9, version 5"


def test_a_colour_tells_sign_and_size() -> None:
    assert looks("advantage", -2.0, -0.6, -0.1, -0.01, 0.0, 0.2, 3.0, None) == [
        "l3", "l2", "l1", "", "", "g1", "g3", "",
    ]  # fmt: skip
    assert looks("gap", -0.6, -0.02, 0.0, 0.3) == ["l3", "l1", "", "g2"]
    assert looks("entropy", 0.0, 0.2, 0.7, 1.5, 3.0, None) == ["p0", "p1", "p2", "p3", "p4", "p0"]
    assert [surprise(value) for value in (-0.2, -3.0, -9.0, float("nan"))] == [1, 3, 4, 0]
    assert set(LEGENDS) == {*COLOURS, *ANNOTATED}


def test_what_a_trainer_wrote_down_is_told() -> None:
    (one,) = tokens_of([row(1, gap=0.25, entropy=1.5, trainer=-0.5, logprob=-0.75, masked=True)])
    assert one.about == (
        "token 1, log-probability -0.75, trainer's -0.5, gap 0.25, entropy 1.5, "
        "masked by the trainer"
    )


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_a_text_is_shown_as_it_is_and_a_part_of_a_character_in_hex(text: str) -> None:
    assert text_of(text.encode().hex()) == text
    assert text_of("é".encode()[:1].hex()) == "⟨C3⟩"
    assert text_of("\x1b\u202e".encode().hex()) == "␛⟨U+202E⟩"


@given(st.lists(st.integers(0, 2 * MOST), max_size=40), st.integers(0, 39))
def test_tokens_are_shown_as_far_as_they_are_not_too_many_or_are_asked_for(
    lengths: list[int], which: int
) -> None:
    spans: list[dict[str, Any]] = [
        {"span_id": f"s{n}", "sampled": length} for n, length in enumerate(lengths)
    ]
    unasked = shown(spans)
    drawn = [min(MOST, one["sampled"]) for one in spans if one["span_id"] in unasked]
    assert sum(drawn) <= AT_ONCE
    if sum(min(MOST, length) for length in lengths) <= AT_ONCE:
        assert unasked == [f"s{n}" for n, length in enumerate(lengths) if length]
    asked = shown(spans, f"s{which}")
    assert set(unasked) <= set(asked)
    assert (f"s{which}" in asked) == (which < len(lengths) and lengths[which] > 0)


def test_a_token_is_one_row() -> None:
    assert all(isinstance(one, Token) for one in tokens_of([row(1)]))
    assert tokens_of([]) == []
