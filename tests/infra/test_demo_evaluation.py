"""What a demo makes of the held-out answers."""

from headrace.infra.demo.evaluation import right_by_task, unended
from headrace.infra.paired import SOLVED

ROWS = [
    {"version": version, "input": task, "reward": reward, "status": status}
    for version, task, reward, status in (
        (0, "b", 0.7, "ok"),
        (0, "a", 1 - 1e-9, "ok"),
        (0, "c", None, "error"),
        (4, "c", 1.0, "ok"),
        (4, "a", 0.0, "error"),
        (4, "b", 0.0, "ok"),
    )
]


def test_tasks_come_in_one_order_whatever_that_of_their_answers() -> None:
    assert [list(right_by_task(ROWS, version, SOLVED)) for version in (0, 4)] == [
        ["a", "b", "c"]
    ] * 2


def test_an_answer_is_right_from_a_reward_on() -> None:
    assert right_by_task(ROWS, 0, SOLVED) == {"a": True, "b": False, "c": False}
    assert right_by_task(ROWS, 0, 0.7) == {"a": True, "b": True, "c": False}


def test_answers_that_never_came_are_counted_apart_from_wrong_ones() -> None:
    assert (unended(ROWS, 0), unended(ROWS, 4)) == (1, 1)
