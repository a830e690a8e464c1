"""What a key may ask for in a minute, as a function of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.gateway.errors import RateLimited
from headrace.connectors.gateway.limits import MINUTE, MOST, Bucket, Limits


def admitted(limits: Limits, who: str, now: float) -> bool:
    try:
        limits.admit(who, now)
    except RateLimited:
        return False
    return True


def test_a_minute_s_requests_may_come_at_once_and_then_one_after_the_other() -> None:
    limits = Limits(requests_per_minute=6, tokens_per_minute=0)
    assert [admitted(limits, "a", 0.0) for _ in range(8)] == [True] * 6 + [False] * 2
    assert not admitted(limits, "a", 9.9)
    assert admitted(limits, "a", 10.0)
    assert not admitted(limits, "a", 10.0)
    assert admitted(limits, "b", 10.0)


def test_tokens_are_counted_when_they_are_known_and_paid_back_by_time() -> None:
    limits = Limits(requests_per_minute=0, tokens_per_minute=60)
    assert admitted(limits, "a", 0.0)
    limits.spent("a", 90, 0.0)
    with pytest.raises(RateLimited) as refused:
        limits.admit("a", 10.0)
    assert (refused.value.limit, refused.value.retry_after) == ("tokens", 21)
    assert not admitted(limits, "a", 30.9)
    assert admitted(limits, "a", 31.0)


def test_without_limits_nobody_is_remembered() -> None:
    limits = Limits(requests_per_minute=0, tokens_per_minute=0)
    assert all(admitted(limits, str(i), 0.0) for i in range(5))
    assert len(limits) == 0


def test_who_asked_longest_ago_is_forgotten() -> None:
    limits = Limits(requests_per_minute=1, tokens_per_minute=0)
    assert admitted(limits, "first", 0.0)
    for i in range(MOST):
        limits.admit(str(i), 0.0)
    assert len(limits) == MOST
    assert admitted(limits, "first", 0.0)


TIMES = st.lists(st.floats(0, 7, allow_nan=False), min_size=1, max_size=60)


@given(per_minute=st.integers(1, 30), pauses=TIMES)
def test_no_minute_has_more_than_two_minutes_requests_and_whoever_waits_as_told_is_admitted(
    per_minute: int, pauses: list[float]
) -> None:
    limits = Limits(requests_per_minute=per_minute, tokens_per_minute=0)
    now, came, waits = 0.0, list[float](), list[int]()
    for pause in pauses:
        now += pause
        try:
            limits.admit("a", now)
        except RateLimited as error:
            waits.append(error.retry_after or 0)
            now += waits[-1]
            limits.admit("a", now)
        came.append(now)
        assert sum(now - MINUTE < one for one in came) <= 2 * per_minute
    assert all(wait >= 1 for wait in waits)


@given(left=st.floats(-100, 30), per_minute=st.integers(1, 30), parts=st.lists(st.floats(0, 50)))
def test_filling_does_not_depend_on_how_often_it_is_looked_at(
    left: float, per_minute: int, parts: list[float]
) -> None:
    start = Bucket(min(left, per_minute), 0.0)
    once = start.filled(per_minute, sum(parts))
    often, now = start, 0.0
    for part in parts:
        now += part
        often = often.filled(per_minute, now)
    assert often.left == pytest.approx(once.left, abs=1e-6)
    assert often.filled(per_minute, -1.0).left == often.left  # a clock that goes back adds nothing
