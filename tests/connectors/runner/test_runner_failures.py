"""An agent that always fails is given a rest, and tried again less and less often."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.runner.failures import Failures
from headrace.connectors.worker.rest import FIRST_PAUSE_S, LONGEST_PAUSE_S


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def failing(times: int, limit: int = 4) -> tuple[Failures, Clock]:
    clock = Clock()
    failures = Failures(limit, clock)
    for _ in range(times):
        failures.failed("RuntimeError: boom")
    return failures, clock


def test_some_failures_pause_nothing_and_one_that_is_ok_forgets_them() -> None:
    failures, _ = failing(3)
    assert failures.rest.may_start(running=50)
    failures.ok()
    for _ in range(3):
        failures.failed("x")
    assert not failures.rest.paused


def test_when_all_fail_one_line_says_so_and_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        failures, _ = failing(40)
    assert failures.rest.paused
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the last 4 attempts all failed: RuntimeError: boom. Pausing")


def test_in_a_pause_one_at_a_time_is_tried_less_and_less_often() -> None:
    failures, clock = failing(4)
    waited = []
    for _ in range(10):
        before = clock.now
        while not failures.rest.may_start(running=0):
            clock.now += 0.5
        waited.append(clock.now - before)
        failures.rest.started()
        assert not failures.rest.may_start(running=1), "beside one that runs"
        failures.failed("RuntimeError: boom")
    assert waited[:4] == [FIRST_PAUSE_S * 2**i for i in range(4)]
    assert waited[-1] == LONGEST_PAUSE_S


def test_one_that_is_ok_lets_all_go_on_and_the_next_pause_is_short_again() -> None:
    failures, clock = failing(4)
    for _ in range(3):
        clock.now += LONGEST_PAUSE_S
        failures.rest.started()
    failures.ok()
    assert failures.rest.may_start(running=50)
    for _ in range(4):
        failures.failed("x")
    assert not failures.rest.may_start(running=0)
    clock.now += FIRST_PAUSE_S
    assert failures.rest.may_start(running=0)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 8))
def test_it_pauses_exactly_while_the_last_attempts_all_failed(ends: list[bool], limit: int) -> None:
    failures = Failures(limit, Clock())
    for number, ok in enumerate(ends, start=1):
        if ok:
            failures.ok()
        else:
            failures.failed("x")
        last = ends[max(0, number - limit) : number]
        assert failures.rest.paused == (len(last) == limit and not any(last))
