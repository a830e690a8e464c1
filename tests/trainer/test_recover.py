"""What a restarted trainer makes of the committed past."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas import Offset, Outcome, PolicyVersion
from headrace.trainer.decided import SKEW_MS, Decided, Decision, GroupKey
from headrace.trainer.recover import Past, Whose

NEWEST = 1_000 * SKEW_MS
WHOSE = Whose(policy="p", trainer="main", publishes="p")


def past() -> Past:
    return Past(publishes="p")


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
    found: dict[GroupKey, Decision] = {}
    base = Outcome(project="x", group_id="g", policy="p", trainer="main")
    WHOSE.add_outcome(found, replace(base, outcome="dropped", credits_version=7), 40)
    WHOSE.add_outcome(found, replace(base, outcome="trained", credits_version=7), 60)
    WHOSE.add_outcome(found, replace(base, outcome="revised", credits_version=9), 50)

    assert found == {("x", "g"): Decision(9, trained=True, log_time=60)}


def test_what_other_trainers_and_policies_decided_does_not_count() -> None:
    found: dict[GroupKey, Decision] = {}
    WHOSE.add_outcome(found, Outcome(group_id="g", policy="p", trainer="shadow"), 50)
    WHOSE.add_outcome(found, Outcome(group_id="g", policy="other", trainer="main"), 50)

    assert found == {}


class LookingBack:
    """Decided groups whose readings are listed; the start has been made."""

    def __init__(self, newest: int = NEWEST) -> None:
        self.decided = Decided(newest)
        self.readings: list[int] = []
        self.reach(newest)

    def reach(self, log_time: int) -> None:
        if (span := self.decided.needs(log_time)) is not None:
            self.readings.append(span.since)
            self.decided.restore(span, {})


def test_a_start_reads_the_outcomes_about_the_last_version() -> None:
    found = past()
    found.add_version(PolicyVersion(policy="p", version=1), 50)
    found.add_version(PolicyVersion(policy="p", version=2), 70)
    assert found.last_at == 70

    past_of = LookingBack()
    assert past_of.readings == [NEWEST - 2 * SKEW_MS]
    for log_time in (NEWEST + 5, NEWEST - SKEW_MS):
        past_of.reach(log_time)
    assert len(past_of.readings) == 1


def test_an_older_record_is_looked_back_for_and_never_twice() -> None:
    past_of = LookingBack()
    past_of.reach(NEWEST - 7 * SKEW_MS)
    assert past_of.readings[1] <= NEWEST - 8 * SKEW_MS
    past_of.reach(NEWEST - 7 * SKEW_MS)
    past_of.reach(0)  # credits that do not say when their group began
    past_of.reach(0)
    assert past_of.readings[2:] == [0]


def test_before_the_first_version_all_outcomes_are_read() -> None:
    past_of = LookingBack(newest=0)
    past_of.reach(0)
    assert past_of.readings == [0]


def test_many_old_groups_in_a_row_cost_few_readings() -> None:
    past_of = LookingBack()
    for minutes in range(5_000):
        past_of.reach(NEWEST - 60_000 * minutes)
    assert len(past_of.readings) < 12


@given(st.lists(st.integers(0, NEWEST + SKEW_MS), max_size=20))
def test_what_is_asked_for_has_always_been_read(log_times: list[int]) -> None:
    past_of = LookingBack()
    for log_time in log_times:
        past_of.reach(log_time)
        assert past_of.readings[-1] <= max(0, log_time - SKEW_MS)
    assert past_of.readings == sorted(set(past_of.readings), reverse=True)
