"""Groups of one against those before them: once each, and the same after any restart."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas import Credits, Episode, EpisodeCall
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups, Held
from headrace.streams.credit.core import Change
from headrace.streams.credit.table import held_of, rows_of
from headrace.streams.reward import Rule

RULE = Rule(name="result", version="1", function=lambda e: float(e.result) if e.result else None)
METHOD = CreditMethod(running_mean=10)


def alone(number: int, result: str = "1", version: int = 3, **facts: Any) -> Arrival:
    calls = [EpisodeCall(span_id="s", policy="p", trainable=True)]
    episode = Episode(
        rollout_id=f"r{number}", attempt="a", result=result, version=version, policy="p",
        calls=calls, **facts,
    )  # fmt: skip
    return Arrival(partition=0, log_time=number, episode=episode)


class Worker:
    """Groups with the table `groups` beside them, as a stage has it."""

    def __init__(self, table: dict[str, Change], method: CreditMethod = METHOD) -> None:
        self.table = table
        self.groups = Groups(RULE, method, GroupPatience())
        for held in self._stored():
            running = held.state.running
            if running.count:
                self.groups.go_on_from(held.partition, held.state.project, running)

    def _stored(self) -> Sequence[Held]:
        rows = rows_of(list(self.table.values()), RULE.id, METHOD.id).to_pylist()
        return [held_of(row) for row in rows]

    def take(self, *arrivals: Arrival) -> list[Credits]:
        for project, group in self.groups.needs(arrivals):
            assert project == "default"
            if group in self.table:
                (row,) = rows_of([self.table[group]], RULE.id, METHOD.id).to_pylist()
                self.groups.restore(held_of(row))
        self.groups.fold(arrivals)
        changes = self.groups.settle()
        for change in changes:
            self.table[change.held.state.group_id] = change
        self.groups.told(changes)
        if self.groups.full:
            self.groups.evict()
        return [change.credits for change in changes if change.credits is not None]


def advantages(credits: Sequence[Credits]) -> dict[str, float]:
    return {c.group_id: round(c.members[0].advantage, 6) for c in credits}


def test_each_is_measured_by_the_mean_of_those_before_it() -> None:
    credits = Worker({}).take(alone(0, "1"), alone(1, "0"), alone(2, "1"))
    assert advantages(credits) == {"r0": 0.0, "r1": -1.0, "r2": 0.5}
    assert [c.outcome for c in credits] == ["zero_advantage", "train", "train"]
    assert [(c.baseline, c.mean) for c in credits] == [
        ("running_mean", 0.0), ("running_mean", 1.0), ("running_mean", 0.5)
    ]  # fmt: skip
    assert credits[0].credit == "uniform/grpo+running_mean(10)/uniform@3"
    assert [s.advantage for c in credits for s in c.samples] == [0.0, -1.0, 0.5]


def test_without_the_setting_a_group_of_one_tells_nothing() -> None:
    credits = Worker({}, CreditMethod()).take(alone(0, "1"), alone(1, "0"))
    assert [c.outcome for c in credits] == ["zero_advantage"] * 2


def test_policies_projects_and_held_out_episodes_are_kept_apart() -> None:
    credits = Worker({}).take(
        alone(0, "1"), alone(1, "5", split="eval"), alone(2, "3", project="default")
    )
    assert advantages(credits)["r2"] == 2.0
    other = Arrival(
        partition=0,
        log_time=9,
        episode=Episode(rollout_id="q", attempt="a", result="9", policy="q"),
    )
    assert Worker({}).take(alone(0), other)[1].mean == 0.0


def test_a_late_reward_takes_its_place_when_it_comes() -> None:
    worker = Worker({})
    assert worker.take(alone(0, ""), alone(1, "1"))[0].group_id == "r1"
    assert advantages(worker.take(alone(0, "3", version=5))) == {"r0": 2.0}


def test_a_revised_reward_keeps_its_baseline_and_moves_no_other() -> None:
    worker = Worker({})
    worker.take(alone(0, "1"), alone(1, "0"))
    assert advantages(worker.take(alone(1, "3", version=5), alone(2, "0"))) == {
        "r1": 2.0,
        "r2": -0.5,
    }


def test_the_mean_forgets_what_lies_beyond_its_window() -> None:
    worker = Worker({}, CreditMethod(running_mean=2))
    worker.take(alone(0, "0"), alone(1, "0"), alone(2, "0"), alone(3, "1"))
    place = worker.table["r3"].held.state.running
    assert (place.count, place.after) == (4, 0.5)


RESULTS = st.lists(st.sampled_from(["0", "1", "0.5", ""]), min_size=1, max_size=12)


@given(results=RESULTS, data=st.data())
def test_restarts_and_repeated_takes_change_no_baseline(
    results: list[str], data: st.DataObject
) -> None:
    log = [alone(i, result) for i, result in enumerate(results)]
    once: dict[str, Change] = {}
    Worker(once).take(*log)
    table: dict[str, Change] = {}
    worker, read = Worker(table), 0
    while read < len(log):
        upto = data.draw(st.integers(read + 1, len(log)))
        worker.take(*log[read:upto])
        if data.draw(st.booleans()):
            worker = Worker(table)  # killed before it acknowledged, or after
            read = data.draw(st.sampled_from([read, upto]))
        else:
            read = upto
    assert {key: change.held.state.running for key, change in table.items()} == {
        key: change.held.state.running for key, change in once.items()
    }


def test_a_worker_goes_on_from_what_another_wrote_ahead_of_it() -> None:
    table: dict[str, Change] = {}
    behind = Worker(table)
    Worker(table).take(alone(0, "1"), alone(1, "0"))
    # `behind` knew no row when it began; it finds them as it reads.
    found = behind.take(alone(0, "1"), alone(1, "0"), alone(2, "1"))
    assert advantages(found) == {"r2": pytest.approx(0.5)}
