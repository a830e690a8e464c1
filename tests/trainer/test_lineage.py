"""Training goes on from the version that is served; the others' samples are off its branch."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.trainer.lineage import Lineage
from tests.trainer.taking_in import NOW, at, credits, feed, ids, intake, sample


def test_in_a_line_age_is_the_difference() -> None:
    line = Lineage(7)
    assert [line.age(version) for version in (7, 6, 0, 8)] == [0, 1, 7, None]
    assert [line.oldest_within(steps) for steps in (0, 3, 7)] == [7, 4, 0]


def test_after_a_branch_age_goes_along_the_ancestry() -> None:
    line = Lineage(10)
    line.pinned = 5
    line.stepped()
    assert (line.newest, line.head) == (11, 5)
    line.pinned = None  # the branch is served
    assert line.head == 11
    assert [line.age(version) for version in (11, 5, 4, 10, 6)] == [0, 1, 2, None, None]
    line.stepped()
    assert [line.age(version) for version in (12, 11, 5, 10)] == [0, 1, 2, None]


@given(st.lists(st.integers(0, 3), max_size=12))
def test_every_age_is_the_number_of_parents_between(choices: list[int]) -> None:
    line, parents = Lineage(0), {0: -1}
    for back in choices:
        line.pinned = max(0, line.newest - back) if back else None
        parents[line.newest + 1] = line.head
        line.stepped()
    line.pinned = None
    expected, version = {}, line.head
    for steps in range(len(parents)):
        if version < 0:
            break
        expected[version] = steps
        version = parents[version]
    assert {one: line.age(one) for one in parents} == {one: expected.get(one) for one in parents}


def test_while_an_older_version_is_served_its_samples_are_trained_and_no_slot_burns() -> None:
    core = intake(staleness=1)
    core.version = 10
    core.lineage.pinned = 5
    for number in range(4):  # more steps than the staleness bound
        feed(core, f"g{number}", version=5)
        assert core.settle({}, NOW) == []
        outcomes = core.trained(core.next_batch(), NOW)
        assert {(o.outcome, o.staleness) for o in outcomes} == {("trained", 0)}
        assert {o.step for o in outcomes} == {11 + number}
    assert (core.version, core.lineage.head) == (14, 5)


def test_samples_of_a_dead_branch_end_off_branch() -> None:
    core = intake(staleness=4)
    core.version = 10
    feed(core, "dead", version=10)
    core.add_sample(sample("mixed", 0, version=5), at("s", 8))
    core.add_sample(sample("mixed", 1, version=9), at("s", 9))
    core.add_credits(credits("mixed"), at("c", 8), NOW)
    core.lineage.pinned = 5
    outcomes = core.settle({}, NOW)
    assert {(o.group_id, o.reason) for o in outcomes} == {("dead", "off_branch")}
    assert all("another version is served" in o.detail for o in outcomes)
    batch = core.next_batch()
    assert ids(batch) == ["mixed"]
    assert [o.reason for o in core.trained(batch, NOW)] == ["", "off_branch"]
