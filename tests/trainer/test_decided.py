"""What a running trainer forgets of its decisions, and finds again."""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas import Outcome
from headrace.trainer.decided import (
    KEEP_MS,
    SKEW_MS,
    UNCOMMITTED,
    Decided,
    Decision,
    GroupKey,
    Span,
)
from headrace.trainer.recover import Whose

START = 1_000 * KEEP_MS
MOST = 8
WHOSE = Whose(policy="p", trainer="main", publishes="p")


@dataclass
class Life:
    """A trainer's decisions beside the log they are written to."""

    decided: Decided = field(default_factory=Decided)
    log: list[tuple[int, Outcome]] = field(default_factory=list)
    truth: dict[GroupKey, Decision] = field(default_factory=dict)
    """Every committed decision, with the first log time of its outcomes in place of the last."""
    readings: list[Span] = field(default_factory=list)

    def start(self, newest: int) -> None:
        self.decided = Decided(newest, most=MOST)
        self.reach(newest)

    def reach(self, log_time: int) -> None:
        """What the shell does for a record of that log time."""
        if (span := self.decided.needs(log_time)) is not None:
            self.decided.restore(span, self.read(span))
        assert self.decided.needs(log_time) is None

    def read(self, span: Span) -> dict[GroupKey, Decision]:
        self.readings.append(span)
        end = len(self.log) if span.until is None else self.first_at(span.until)
        found: dict[GroupKey, Decision] = {}
        for log_time, outcome in self.log[self.first_at(span.since) : end]:
            WHOSE.add_outcome(found, outcome, log_time)
        return found

    def first_at(self, log_time: int) -> int:
        """Offset of the first record of that log time or later, as a broker tells it."""
        found = (offset for offset, (at, _) in enumerate(self.log) if at >= log_time)
        return next(found, len(self.log))

    def decide(self, group: str, version: int, log_times: list[int]) -> None:
        """Decide a group, or a revision of it; commit its outcomes."""
        key = ("default", group)
        old = self.truth.get(key)
        for log_time in log_times:
            kind = "revised" if old else "trained"
            self.log.append(
                (
                    log_time,
                    Outcome(
                        project="default",
                        group_id=group,
                        policy="p",
                        trainer="main",
                        outcome=kind,
                        credits_version=version,
                    ),
                )
            )
        first = min(log_times) if old is None else min(old.log_time, *log_times)
        self.truth[key] = Decision(version, trained=True, log_time=first)
        self.decided[key] = Decision(version, trained=True)
        self.decided.settle([key], max(log_times))
        self.decided.evict()

    def knows(self, group: str) -> bool:
        found = self.decided.get(("default", group))
        return found is not None and found[:2] == self.truth["default", group][:2]


def hours(number: float) -> int:
    return int(number * KEEP_MS)


def test_older_decisions_are_forgotten_and_found_again_for_a_late_record() -> None:
    life = Life()
    life.start(START)
    for number in range(100):
        life.decide(f"g{number}", 1, [START + hours(number)])
        assert len(life.decided) <= MOST + 1
    assert not life.knows("g3")

    life.reach(START + hours(3))
    assert all(life.knows(f"g{number}") for number in range(3, 100))


def test_decisions_of_the_last_hour_and_uncommitted_ones_are_kept_whatever_their_number() -> None:
    life = Life()
    life.start(START)
    for number in range(100):
        life.decided["default", f"u{number}"] = Decision(1, trained=True)
    for number in range(100):
        life.decide(f"g{number}", 1, [START + number])
    assert len(life.decided) == 200
    assert life.decided["default", "u7"].log_time == UNCOMMITTED
    assert len(life.readings) == 1


def test_a_decision_whose_log_time_lags_its_place_in_the_log_is_found_again() -> None:
    life = Life()
    life.start(START)
    ahead, behind = START + hours(4) + SKEW_MS - 1, START + hours(4)
    for number in range(3):
        life.decide(f"g{number}", 1, [START + hours(number)])
    for group, log_time in (("ahead", ahead), ("behind", behind)):  # in this order in the log
        life.decide(group, 1, [log_time])
    for number in range(6, 10):
        life.decide(f"g{number}", 1, [START + hours(number)])
    assert life.knows("ahead")
    assert not life.knows("behind")

    life.reach(behind)
    assert life.knows("behind")


def test_what_is_as_old_as_the_youngest_forgotten_is_known() -> None:
    life = Life()
    life.start(START)
    for number in range(9):
        life.decide(f"g{number}", 1, [START + hours(number - number % 2)])  # two at a time
    assert not life.knows("g3")
    life.reach(START + hours(4) + SKEW_MS)
    assert len(life.readings) == 1
    assert life.knows("g4")
    assert life.knows("g5")


def test_many_late_records_cost_few_readings() -> None:
    life = Life()
    life.start(START)
    for number in range(2_000):
        life.decide(f"g{number}", 1, [START + hours(number)])
        life.reach(START + hours(max(0, number - 50)))  # each is 50 hours late
    assert len(life.readings) < 100
    assert len(life.decided) < 400


# Some brokers' clocks are ahead of others by up to SKEW_MS, so log times go up and down.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["new", "new", "new", "revise", "late"]),
        st.floats(0, 1.5),  # hours since the step before
        st.integers(0, 10_000),  # which group
        st.lists(st.integers(0, SKEW_MS), min_size=1, max_size=3),  # clocks of its outcomes
    ),
    max_size=80,
)


@given(STEPS)
def test_whoever_asks_for_a_time_knows_every_decision_since(
    steps: list[tuple[str, float, int, list[int]]],
) -> None:
    life = Life()
    life.start(START)
    now, count = START, 0
    for kind, passed, which, clocks in steps:
        now += hours(passed)
        log_times = [now + clock for clock in clocks]
        if kind == "new" or not count:
            life.decide(f"g{count}", 1, log_times)
            count += 1
            continue
        group = f"g{which % count}"
        began = life.truth["default", group].log_time
        life.reach(began)  # of a record as old as the group's first outcome
        for (_, other), decision in life.truth.items():
            assert life.knows(other) or decision.log_time < began - SKEW_MS
        assert life.knows(group)
        if kind == "revise":
            life.decide(group, life.truth["default", group].credits_version + 1, log_times)
    for earlier, later in pairwise(life.readings):
        assert earlier != later
