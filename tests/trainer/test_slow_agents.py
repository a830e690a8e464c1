"""Slow agents are trained as often as they are asked: source, agents and trainer simulated."""

from collections import Counter
from dataclasses import dataclass, replace

import pytest

from headrace.connectors.tasks import Admission
from headrace.schemas import Task
from headrace.trainer.choices import Stale
from headrace.trainer.decided import Decided, Decision
from headrace.trainer.intake import Intake
from headrace.trainer.running import GRACE_MS, Running
from headrace.trainer.trainable import IntakeConfig
from tests.trainer.taking_in import at, credits, ids, intake, sample

GROUP, GROUPS_PER_STEP = 2, 8
STEP = GROUP * GROUPS_PER_STEP
SLOW_SHARE = 5  # one group of so many
TICK_MS = 1_000
FAST = 3  # ticks


def task(group: str, rollout: int, deadline: int = 600_000, **changes: object) -> Task:
    made = Task(
        rollout_id=f"{group}-{rollout}",
        group_id=group,
        group_size=GROUP,
        policy="p",
        deadline=deadline,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # any field


@dataclass
class Trained:
    asked: Counter[str]
    trained: Counter[str]
    versions: int

    def share(self, kind: str) -> float:
        return self.trained[kind] / self.trained.total()


def simulate(stale: Stale, *, staleness: int, slower: int, ticks: int = 600) -> Trained:
    """Fast agents end after FAST ticks, one group of SLOW_SHARE takes `slower` times as long."""
    core = intake(rollouts=STEP, staleness=staleness, stale=stale)
    admission = Admission(rollouts_per_step=STEP, max_staleness=staleness, group_size=GROUP)
    admission.published(0)
    core.published(0, 0)
    ends: dict[int, list[tuple[str, int]]] = {}
    result = Trained(Counter(), Counter(), 0)
    number = 0

    def account(outcomes: list) -> None:  # type: ignore[type-arg]  # outcomes
        for one in outcomes:
            admission.outcome(one.rollout_id, trained=one.outcome == "trained")
            if one.outcome == "trained":
                result.trained[one.group_id[0]] += 1

    for tick in range(1, ticks):
        now = tick * TICK_MS
        for _ in range(admission.groups()):
            kind = "s" if number % SLOW_SHARE == 0 else "f"
            group = f"{kind}{number}"
            number += 1
            result.asked[kind] += GROUP
            admission.admitted(f"{group}-{i}" for i in range(GROUP))
            for i in range(GROUP):
                core.add_task(task(group, i, deadline=now + 600_000), now, now)
            took = FAST * (slower if kind == "s" else 1)
            ends.setdefault(tick + took, []).append((group, core.version))
        for group, version in ends.pop(tick, []):
            for i in range(GROUP):
                core.add_sample(sample(group, i, version), at("s", tick))
            account(core.add_credits(credits(group), at("c", tick, log_time=now), now))
        account(core.settle({}, now))
        if batch := core.next_batch(now):
            account(core.trained(batch, now))
            admission.published(core.version)
            core.published(core.version, now)
            result.versions += 1
    return result


@pytest.mark.parametrize(("staleness", "slower"), [(1, 4), (4, 10), (0, 4)])
def test_slow_groups_are_trained_as_often_as_they_are_asked(staleness: int, slower: int) -> None:
    result = simulate("wait", staleness=staleness, slower=slower)
    asked = result.asked["s"] / result.asked.total()
    assert result.versions > 10
    assert result.share("s") == pytest.approx(asked, rel=0.1)


@pytest.mark.parametrize("stale", ["withhold", "drop"])
def test_without_waiting_they_are_left_behind(stale: Stale) -> None:
    """What the wait is for: of agents ten times slower a part is too old when it ends."""
    result = simulate(stale, staleness=4, slower=10)
    assert result.share("s") < 0.9 * result.asked["s"] / result.asked.total()


def test_a_step_waits_for_a_rollout_that_it_would_make_stale_and_takes_it_along() -> None:
    core = intake(staleness=0, stale="wait")
    core.published(0, 10)
    for group in ("fast", "slow"):
        for i in range(2):
            core.add_task(task(group, i), 20, 20)
    for i in range(2):
        core.add_sample(sample("fast", i), at("s", i))
    core.add_credits(credits("fast"), at("c", 0), 30)
    assert (core.next_batch(30), core.waited_for) == ([], 2)
    for i in range(2):
        core.add_sample(sample("slow", i), at("s", 2 + i))
    core.add_credits(credits("slow"), at("c", 1), 40)
    batch = core.next_batch(40)
    assert (ids(batch), core.waited_for) == (["fast", "slow"], 0)


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({}, True),
        ({"deadline": 0}, False),
        ({"version": 3}, False),
        ({"split": "eval"}, False),
        ({"policy": "another"}, False),
    ],
)
def test_who_is_waited_for(changes: dict[str, object], waits: bool) -> None:
    core = intake(staleness=0, stale="wait")
    core.add_task(task("slow", 0, **changes), 20, 20)  # type: ignore[arg-type]  # any field
    for i in range(2):
        core.add_sample(sample("fast", i), at("s", i))
    core.add_credits(credits("fast"), at("c", 0), 30)
    assert (core.next_batch(30) == []) is waits


def test_one_that_was_decided_in_an_earlier_life_is_not_waited_for() -> None:
    """As after a restart: the decision is older than what was restored with the last version."""
    hour = 3_600_000
    core = Intake(
        IntakeConfig(policy="p", rollouts_per_step=2, max_staleness=0, stale="wait"),
        decided=Decided(newest=9 * hour),
    )
    old = task("long-ago", 0, deadline=20 * hour)
    span = core.needs_of_task(old, 5 * hour, 9 * hour)
    assert span is not None
    assert span.since < 5 * hour
    core.restore(span, {("default", "long-ago"): Decision(1, trained=True, log_time=6 * hour)})
    assert core.needs_of_task(old, 5 * hour, 9 * hour) is None
    core.add_task(old, 5 * hour, 9 * hour)
    for i in range(2):
        core.add_sample(sample("new", i), at("s", i, log_time=9 * hour))
    new = replace(credits("new"), log_first=9 * hour)
    core.add_credits(new, at("c", 0, log_time=9 * hour), 9 * hour)
    assert core.next_batch(9 * hour) != []
    over = task("over", 0, deadline=hour)
    assert core.needs_of_task(over, 1, 9 * hour) is None


def test_nobody_is_waited_for_beyond_the_deadline_or_once_it_was_taken_back() -> None:
    running = Running("p")
    running.published(0, 10)
    running.add(task("late", 0, deadline=1_000), 20, 20)
    running.add(task("taken-back", 0), 20, 20)
    assert running.admitted_before(1, 500) == 2
    running.add(task("taken-back", 0, cancelled=True), 30, 500)
    assert running.admitted_before(1, 500) == 1
    assert running.admitted_before(1, 1_000 + GRACE_MS) == 0
    running.add(task("late", 0, deadline=1_000), 20, 1_000 + GRACE_MS)  # read again
    assert running.admitted_before(1, 1_000) == 0


def test_a_rollout_belongs_to_the_version_that_stood_in_the_log_when_it_was_asked_for() -> None:
    """However late the task is read."""
    running = Running("p")
    running.published(4, 100)
    running.published(5, 200)
    for number, log_time in enumerate((50, 100, 150, 200)):
        running.add(task("g", number), log_time, 999)
    counts = [running.admitted_before(version, 999) for version in (3, 4, 5, 6)]
    assert counts == [0, 1, 3, 4]
    running.ended(("default", "g"))
    assert running.admitted_before(9, 999) == 0
