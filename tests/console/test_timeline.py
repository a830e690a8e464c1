"""Bars and curves: what the drawings are made of."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.console.chart import HEIGHT, Point, chart, ticks
from headrace.infra.console.chart import WIDTH as ACROSS
from headrace.infra.console.timeline import WIDTH, Bar, bars

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


def test_a_curve_rises_towards_the_top_and_says_what_it_is() -> None:
    drawn = chart("Reward", {"train": [Point(x=0, y=0.0, low=-0.1, high=0.1), Point(x=10, y=1.0)]})
    assert drawn is not None
    (line,) = drawn.lines
    (left, low), (right, high) = line.dots
    assert left < right
    assert low > high
    assert [label for _, label in drawn.x_ticks] == ["0", "10"]
    assert drawn.y_ticks[0][1] == "-0.5"


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(allow_nan=True)), max_size=20))
def test_a_chart_stays_within_its_frame_whatever_the_values(
    values: list[tuple[int, float]],
) -> None:
    drawn = chart("any", {"one": [Point(x=x, y=y) for x, y in sorted(values)]})
    for line in drawn.lines if drawn else ():
        for x, y in line.dots:
            assert 0 <= x <= ACROSS
            assert 0 <= y <= HEIGHT


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_hold_what_they_span_and_are_few(low: float, more: float) -> None:
    marks = ticks(low, low + more)
    assert marks[0] <= low + more / 1e6
    assert marks[-1] >= low + more - more / 1e6
    assert 2 <= len(marks) <= 8
