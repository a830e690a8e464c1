"""Bars, curves and tokens: what the drawings are made of."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.console.curve import points
from headrace.infra.console.timeline import WIDTH, Bar, bars
from headrace.infra.console.tokens import surprise, tokens

TIMES = st.tuples(st.integers(0, 2**62), st.integers(0, 2**62))


def test_a_span_lies_where_it_happened() -> None:
    assert bars([(100, 200), (150, 200)]) == [Bar(x=0, width=1000), Bar(x=500, width=500)]


@given(st.lists(TIMES))
def test_every_span_is_seen_and_inside_whatever_its_clock_says(
    times: list[tuple[int, int]],
) -> None:
    for bar in bars(times):
        assert 0 <= bar.x < WIDTH
        assert 0 < bar.width <= WIDTH - bar.x


def test_a_curve_rises_towards_the_top() -> None:
    assert points([0, 10], [0.0, 1.0]) == "0.0,160.0 640.0,0.0"
    assert points([3], [0.5]) == "320.0,80.0"


def test_tokens_know_how_likely_they_were_and_which_version_sampled_them() -> None:
    made = tokens([7, 8, 9], [-0.01, -1.0], [4, 5], [1, 2])
    assert [(one.id, one.bin, one.version) for one in made] == [(7, 0, 4), (8, 2, 5), (9, 0, 5)]
    assert made[2].logprob is None
    assert [surprise(value) for value in (-0.2, -3.0, -9.0)] == [1, 3, 4]
