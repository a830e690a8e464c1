"""Who asks the same at once shares an answer, and none that was begun before they asked."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.infra.console.rounds import Rounds
from tests.support.waiting import wait_until

MANY = 8


class Held:
    """An answer that is given when it is let go, and which of them it is."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.runs = 0

    def __call__(self) -> int:
        self.runs += 1
        number = self.runs
        self.begun.release()
        assert self.go.acquire(timeout=60)
        return number


class Key:
    """Tells how often it was looked up: twice by each who asks, before it waits."""

    def __init__(self) -> None:
        self.looks = 0

    def __hash__(self) -> int:
        self.looks += 1
        return 0


def test_all_who_ask_while_it_is_answered_share_the_next_answer() -> None:
    rounds, held, key = Rounds(), Held(), Key()
    with ThreadPoolExecutor(MANY) as pool:
        first = pool.submit(rounds.ask, key, held)
        assert held.begun.acquire(timeout=60)
        before = key.looks
        others = [pool.submit(rounds.ask, key, held) for _ in range(MANY - 1)]
        wait_until(lambda: key.looks >= before + 2 * len(others), "that all have asked")
        held.go.release(2)
        assert first.result(60) == 1
        assert {other.result(60) for other in others} == {2}
    assert held.runs == 2


def test_no_answer_was_begun_before_its_question_came() -> None:
    rounds, clock = Rounds(), itertools.count()

    def asks() -> None:
        for _ in range(200):
            asked = next(clock)
            assert rounds.ask("same", lambda: next(clock)) > asked

    with ThreadPoolExecutor(MANY) as pool:
        for one in [pool.submit(asks) for _ in range(MANY)]:
            one.result(60)


def test_what_is_asked_otherwise_waits_for_nobody() -> None:
    rounds, held = Rounds(), Held()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(rounds.ask, "slow", held)
        assert held.begun.acquire(timeout=60)
        assert rounds.ask("another", lambda: "at once") == "at once"
        held.go.release()
        assert first.result(60) == 1


def test_an_error_is_told_to_all_of_its_round_and_ends_with_it() -> None:
    rounds = Rounds()

    def fails() -> int:
        raise ValueError("no answer")

    answers: list[Callable[[], int]] = [fails, lambda: 7]
    with pytest.raises(ValueError, match="no answer"):
        rounds.ask("same", answers[0])
    assert rounds.ask("same", answers[1]) == 7
