"""What the intake does with a group's later versions, and with groups of an earlier life."""

from dataclasses import replace

from headrace.trainer.decided import SKEW_MS
from tests.trainer.taking_in import (
    NOW,
    RESTART,
    after_a_restart,
    at,
    credits,
    feed,
    intake,
    sample,
    trained_before,
)


def test_the_highest_credit_version_is_trained() -> None:
    core = intake()
    feed(core, "g")
    core.add_credits(replace(credits("g", version=20), mean=0.7), at("c", 5), NOW)
    core.add_credits(credits("g", version=15), at("c", 6), NOW)

    (group,) = core.next_batch()
    assert (group.credits.version, group.credits.mean) == (20, 0.7)


def test_a_revision_after_training_is_recorded_and_not_trained() -> None:
    core = intake()
    feed(core, "g")
    core.trained(core.next_batch(), NOW)

    outcomes = core.add_credits(credits("g", version=11), at("c", 5), NOW)

    assert {(o.outcome, o.reason) for o in outcomes} == {("revised", "revised_after_training")}
    assert core.next_batch() == []
    assert core.add_credits(credits("g", version=11), at("c", 5), NOW) == []


def test_a_revision_of_a_group_that_an_earlier_life_trained_is_recorded_and_not_decided() -> None:
    core = after_a_restart()
    new = at("s", 7, log_time=RESTART + 2 * SKEW_MS)
    assert core.needs(sample("g", 1), new) is None
    core.add_sample(sample("g", 1), new)  # of an attempt that came late
    assert core.held_samples == 1

    late = replace(credits("g", version=12), log_first=400)
    trained_before(core, late, new)
    outcomes = core.add_credits(late, new, NOW)

    assert {(o.outcome, o.reason) for o in outcomes} == {("revised", "revised_after_training")}
    assert (core.waiting_groups, core.held_samples, core.held_bytes) == (0, 0, 0)
    assert core.lowest_needed() == {}


def test_records_of_an_earlier_life_that_are_read_again_change_nothing() -> None:
    core = after_a_restart()
    trained_before(core, sample("g", 0), at("s", 3, log_time=450))
    core.add_sample(sample("g", 0), at("s", 3, log_time=450))
    again = core.add_credits(replace(credits("g"), log_first=400), at("c", 2, log_time=480), NOW)
    assert again == []
    assert (core.waiting_groups, core.held_samples) == (0, 0)
