"""An id is looked up while the tables lack some of the log, and no longer."""

from collections.abc import Callable, Iterator

import pytest

from headrace.connectors.feedback import NobodyKnows, NotYet, Place, Search

PLACE = Place(project="default", rollout_id="r", attempt="a")


def told(*answers: Place | None) -> Callable[[], Place | None]:
    each: Iterator[Place | None] = iter(answers)
    return lambda: next(each)


def left(*records: int) -> Callable[[], int]:
    each = iter(records)
    return lambda: next(each)


def test_what_is_there_is_found_without_a_question_to_the_log() -> None:
    assert Search("no episode", told(PLACE), left()).step() == PLACE


def test_it_is_waited_for_while_the_log_may_hold_it() -> None:
    search = Search("no episode", told(None, None, PLACE), left(7, 2))
    assert [search.step(), search.step(), search.step()] == [None, None, PLACE]


def test_a_row_that_came_while_the_log_was_asked_counts() -> None:
    assert Search("no episode", told(None, PLACE), left(0)).step() == PLACE


def test_when_all_is_assembled_nobody_knows_it() -> None:
    search = Search("no episode r/a of project p", told(None, None), left(0))
    with pytest.raises(NobodyKnows, match="no episode r/a of project p is on record"):
        search.step()


def test_it_is_not_waited_for_without_end() -> None:
    now = [0.0]
    search = Search("no episode", told(None, None), left(5, 5), wait_s=10, clock=lambda: now[0])
    assert search.step() is None
    now[0] = 10.1
    with pytest.raises(NotYet, match="5 records of the log are not assembled yet"):
        search.step()
