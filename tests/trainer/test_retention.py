"""Which versions keep their weights, and who holds one."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas import Task
from headrace.trainer.lineage import Lineage
from headrace.trainer.reference import needed_by
from headrace.trainer.retention import OPEN_MS, Evaluations, superfluous
from headrace.trainer.running import GRACE_MS, Running


def test_the_last_ones_each_so_many_th_the_first_and_the_held_stay() -> None:
    assert superfluous(range(26), last=3, every=10, held={7}) == [
        *(1, 2, 3, 4, 5, 6, 8, 9),
        *(11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22),
    ]
    assert superfluous(range(6), last=2, every=0, held=()) == [1, 2, 3]
    assert superfluous(range(26), last=0, every=0, held=()) == []
    assert superfluous([], last=2, every=3, held=()) == []


@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 12), st.sets(st.integers(0, 60)))
def test_pruned_at_each_commit_or_once_the_same_is_left(
    newest: int, last: int, every: int, held: set[int]
) -> None:
    left: set[int] = set()
    for version in range(newest + 1):
        left.add(version)
        left -= set(superfluous(left, last=last, every=every, held=held))
    everything = range(newest + 1)
    assert left == set(everything) - set(superfluous(everything, last=last, every=every, held=held))
    assert {0, newest} | (held & set(everything)) <= left


TASK = Task(rollout_id="r", group_id="g", policy="p", version=3, split="eval", deadline=1_000)


def test_a_version_is_held_while_a_task_that_is_pinned_to_it_runs() -> None:
    evaluations = Evaluations("p")
    evaluations.add(TASK, 0)
    evaluations.add(replace(TASK, group_id="other", version=4, deadline=5_000), 0)
    evaluations.add(replace(TASK, group_id="free", version=-1), 0)
    evaluations.add(replace(TASK, group_id="of another", policy="q", version=9), 0)
    assert evaluations.versions(500) == {3, 4}
    evaluations.ended(("default", "g"))
    assert evaluations.versions(500) == {4}
    assert evaluations.versions(5_000 + GRACE_MS) == set()  # its deadline is over


def test_a_task_that_is_taken_back_or_never_ends_holds_nothing_for_ever() -> None:
    evaluations = Evaluations("p")
    endless = replace(TASK, deadline=0)
    evaluations.add(endless, 100)
    assert evaluations.versions(100 + OPEN_MS - 1) == {3}
    assert evaluations.versions(100 + OPEN_MS) == set()
    evaluations.add(endless, 100)
    evaluations.add(replace(endless, cancelled="by a person"), 200)
    assert evaluations.versions(300) == set()


def test_a_deadline_that_is_no_time_is_none() -> None:
    """In seconds it has always passed, in nanoseconds it never comes."""
    now = 1_700_000_000_000
    for deadline in (now // 1_000 + 60, now * 1_000_000):
        evaluations = Evaluations("p")
        evaluations.add(replace(TASK, deadline=deadline), now)
        assert evaluations.versions(now + OPEN_MS - 1) == {3}
        assert evaluations.versions(now + OPEN_MS) == set()
        running = Running("p")
        running.published(0, 0)
        running.add(replace(TASK, version=-1, split="train", deadline=deadline), now, now)
        assert running.admitted_before(1, now) == 0


def test_what_a_kl_is_taken_to_now_or_later_is_needed() -> None:
    lineage = Lineage(5)
    assert needed_by("base", lineage, ()) == set()
    assert needed_by("@2", lineage, ()) == {2}
    assert needed_by("-2", lineage, ()) == {5, 4, 3}
    lineage.pinned = 1
    assert needed_by("-1", lineage, ()) == {1, 0}
    lineage.pinned = None
    assert needed_by("-3", lineage, {2, 3}) == {5, 4, 1}
