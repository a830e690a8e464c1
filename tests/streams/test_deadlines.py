"""When remembered things are due: by partition, in order, once, and at the last time given."""

from headrace.streams.deadlines import Deadlines, earliest


def test_due_ones_come_in_order_and_once() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for key, at in (("c", 30), ("a", 10), ("b", 20)):
        deadlines.arm(0, key, at)
    deadlines.arm(1, "other", 5)
    assert deadlines.due(0, 9) == []
    assert deadlines.due(0, 20, most=1) == ["a"]
    assert deadlines.due(0, 20) == ["b"]
    assert deadlines.due(0, 20) == []
    assert deadlines.next() == {0: 30, 1: 5}
    assert len(deadlines) == 2


def test_arming_again_replaces_the_time_and_disarming_forgets_it() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.arm(0, "a", 10)
    deadlines.arm(0, "a", 40)
    deadlines.arm(0, "b", 20)
    assert deadlines.due(0, 30) == ["b"]
    deadlines.arm(0, "a", 5)
    assert deadlines.next() == {0: 5}
    deadlines.disarm(0, "a")
    deadlines.disarm(7, "a")
    assert deadlines.next() == {}


def test_the_earliest_of_several() -> None:
    first: Deadlines[str] = Deadlines()
    second: Deadlines[str] = Deadlines()
    first.arm(0, "a", 10)
    second.arm(0, "b", 5)
    second.arm(1, "b", 7)
    assert earliest(first, second) == {0: 5, 1: 7}
