"""The demo's test of its claim, on numbers that can be checked by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.paired import paired


def test_twenty_four_better_and_none_worse_is_two_to_the_minus_twenty_four() -> None:
    before = [False] * 35 + [True] * 29
    after = [True] * 24 + [False] * 11 + [True] * 29
    test = paired(before, after)

    assert (test.better, test.worse) == (24, 0)
    assert math.isclose(test.p_value, 2**-24, rel_tol=1e-9)
    assert (test.rate_before, test.rate_after) == (29 / 64, 53 / 64)


def test_known_binomial_tail() -> None:
    # P(X ≥ 8), X ~ Binomial(10, 1/2) = (45 + 10 + 1) / 1024
    test = paired([False] * 8 + [True] * 2, [True] * 8 + [False] * 2)
    assert math.isclose(test.p_value, 56 / 1024, rel_tol=1e-9)


def test_no_change_proves_nothing() -> None:
    test = paired([True, False], [True, False])
    assert test.p_value == 1.0
    low, high = test.interval
    assert low < 0 < high


def test_answers_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="paired answers"):
        paired([True], [])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_interval_and_p_value_are_what_they_claim_for_any_answers(
    answers: list[tuple[bool, bool]],
) -> None:
    test = paired([b for b, _ in answers], [a for _, a in answers])
    mirrored = paired([a for _, a in answers], [b for b, _ in answers])
    low, high = test.interval

    assert -1 <= low <= high <= 1
    assert 0 < test.p_value <= 1
    assert math.isclose(low, -mirrored.interval[1], abs_tol=1e-12)
    # P(X ≥ k) and P(X ≥ n - k) overlap in X = k
    assert test.p_value + mirrored.p_value >= 1 - 1e-12
