"""What a restarted trainer makes of the committed past."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas import Offset, Outcome, PolicyVersion
from headrace.trainer.intake import Decision
from headrace.trainer.recover import SKEW_MS, DecidedBefore, Past

NEWEST = 1_000 * SKEW_MS


def past() -> Past:
    return Past(policy="p", trainer="main", publishes="p")


def test_the_newest_version_is_gone_on_from_at_its_offsets() -> None:
    found = past()
    for number in (0, 2, 1):
        offsets = [Offset(topic="headrace.samples", partition=3, offset=10 * number)]
        found.add_version(PolicyVersion(policy="p", version=number, offsets=offsets))
    found.add_version(PolicyVersion(policy="other", version=9))
    found.add_version(None)  # a traffic record

    assert found.last is not None
    assert found.last.version == 2
    assert found.offsets == {("headrace.samples", 3): 20}


def test_before_the_first_version_everything_is_read() -> None:
    assert past().last is None
    assert past().offsets == {}


def test_a_group_is_trained_if_any_of_its_samples_was_whatever_the_order() -> None:
    found = past()
    base = Outcome(project="x", group_id="g", policy="p", trainer="main")
    found.add_outcome(replace(base, outcome="dropped", credits_version=7), 40)
    found.add_outcome(replace(base, outcome="trained", credits_version=7), 60)
    found.add_outcome(replace(base, outcome="revised", credits_version=9), 50)

    assert found.decided == {("x", "g"): Decision(9, trained=True, log_time=60)}


def test_what_other_trainers_and_policies_decided_does_not_count() -> None:
    found = past()
    found.add_outcome(Outcome(group_id="g", policy="p", trainer="shadow"), 50)
    found.add_outcome(Outcome(group_id="g", policy="other", trainer="main"), 50)

    assert found.decided == {}


def looking_back(newest: int = NEWEST) -> tuple[DecidedBefore, list[int]]:
    """Decided groups whose readings are listed; the start has been made."""
    readings: list[int] = []
    decided = DecidedBefore(newest, lambda since, _until: readings.append(since))
    decided.reach(newest)
    return decided, readings


def test_a_start_reads_the_outcomes_about_the_last_version() -> None:
    found = past()
    found.add_version(PolicyVersion(policy="p", version=1), 50)
    found.add_version(PolicyVersion(policy="p", version=2), 70)
    assert found.last_at == 70

    decided, readings = looking_back()
    assert readings == [NEWEST - 2 * SKEW_MS]
    for log_time in (NEWEST + 5, NEWEST - SKEW_MS):
        decided.reach(log_time)
    assert len(readings) == 1


def test_an_older_record_is_looked_back_for_and_never_twice() -> None:
    decided, readings = looking_back()
    decided.reach(NEWEST - 7 * SKEW_MS)
    assert readings[1] <= NEWEST - 8 * SKEW_MS
    decided.reach(NEWEST - 7 * SKEW_MS)
    decided.reach(0)  # credits that do not say when their group began
    decided.reach(0)
    assert readings[2:] == [0]


def test_before_the_first_version_all_outcomes_are_read() -> None:
    decided, readings = looking_back(newest=0)
    decided.reach(0)
    assert readings == [0]


def test_many_old_groups_in_a_row_cost_few_readings() -> None:
    decided, readings = looking_back()
    for minutes in range(5_000):
        decided.reach(NEWEST - 60_000 * minutes)
    assert len(readings) < 12


@given(st.lists(st.integers(0, NEWEST + SKEW_MS), max_size=20))
def test_what_is_asked_for_has_always_been_read(log_times: list[int]) -> None:
    decided, readings = looking_back()
    for log_time in log_times:
        decided.reach(log_time)
        assert readings[-1] <= max(0, log_time - SKEW_MS)
    assert readings == sorted(set(readings), reverse=True)
