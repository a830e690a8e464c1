"""What a clumsy or hostile producer sends: counted, explained, and nobody else's loss."""

import math
from typing import Any

import pytest

from headrace.schemas import Episode
from headrace.schemas.deadline import FARTHEST_MS
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.credit.slow import SLOW_S, SlowRule
from headrace.streams.credit.table import SCHEMA, rows_of
from headrace.streams.reward import Rule, load_rule
from tests.streams.assembling import (
    Producer,
    World,
    call,
    end,
    make_stage,
    one_episode,
    plain,
    record,
    reward,
    run,
    start,
)

RULE = load_rule("reward-span:right")
PATIENCE = GroupPatience(grace_ms=50, max_wait_ms=500)
NOW = 1_795_000_000_000
EARLIEST, LATEST = -(2**63), 2**63 - 1


def credited(*episodes: Episode, rule: Rule = RULE, clock: int = NOW) -> tuple[Groups, Any]:
    groups = Groups(rule, CreditMethod(baseline_name="rloo"), PATIENCE)
    groups.advance(0, clock)
    arrivals = [Arrival(partition=0, log_time=NOW, episode=one) for one in episodes]
    groups.needs(arrivals)
    groups.fold(arrivals)
    return groups, groups.settle()


def told(rollout: str, value: float = 1.0, **facts: Any) -> Episode:
    _, one = one_episode(start(**facts), reward(2, value), end())
    return Episode(
        **{
            **{name: getattr(one, name) for name in one.__dataclass_fields__},
            "rollout_id": rollout,
        }
    )


@pytest.mark.parametrize("deadline", [1, NOW // 1000, NOW * 1_000_000, EARLIEST, LATEST])
def test_a_deadline_in_another_unit_is_none_and_is_counted(deadline: int) -> None:
    world, producer = World(), Producer("p")
    stage = make_stage(world, idle_ms=10_000)
    run(stage, [record(producer.seal(start(deadline=deadline, group_size=2)), 0, NOW)])
    run(stage, [record(None, 1, NOW + 5_000, tick=True)])
    assert world.published() == [], "it did not close the episode"
    run(stage, [record(producer.seal(reward(2), end()), 2, NOW + 5_001)])
    (episode,) = world.published()
    assert episode.signals == {"odd_deadlines": 1}
    # Nor does it decide when the group is: it is credited when its patience is over, and is stored.
    groups, changes = credited(episode)
    assert changes[0].credits is None
    assert changes[0].close_by == NOW + PATIENCE.max_wait_ms
    assert rows_of(changes, "rule", "credit").schema == SCHEMA
    assert groups.next_deadline(0) == NOW + PATIENCE.max_wait_ms


def test_a_deadline_near_the_log_s_time_counts() -> None:
    _, episode = one_episode(start(deadline=FARTHEST_MS), end())
    assert episode.signals == {}
    _, episode = one_episode(start(deadline=FARTHEST_MS + 11), end())
    assert episode.signals == {"odd_deadlines": 1}


def test_of_two_ends_the_first_counts_and_the_other_is_counted() -> None:
    second = plain(98, "attempt.end", status="error", output="no")
    _, episode = one_episode(start(), end(97), second)
    assert (episode.status, episode.result) == ("ok", "2")
    assert episode.signals == {"repeated_ends": 1}


def test_an_episode_of_nothing_is_an_episode_without_reward() -> None:
    _, episode = one_episode(start(group_size=1), end())
    assert (len(episode.calls), episode.complete) == (0, True)
    _, (change,) = credited(episode, clock=NOW + 1_000)
    assert change.credits is not None
    assert (change.credits.outcome, change.credits.samples) == ("reward_absent", [])


@pytest.mark.parametrize("started", [EARLIEST, 0, NOW * 1_000_000 - 3_600 * 10**9, LATEST])
def test_whenever_an_agent_s_clock_says_it_was_spans_are_kept(started: int) -> None:
    odd = plain(3)
    odd = type(odd)(
        **{
            **{name: getattr(odd, name) for name in odd.__dataclass_fields__},
            "started_at": started,
            "ended_at": started,
        }
    )
    world, episode = one_episode(start(), call(2), odd, end())
    assert (episode.n_spans, len(episode.calls), episode.closed_by) == (4, 1, "end")
    assert len(world.spans) == 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1e308, 1e30])
def test_a_reward_that_cannot_be_harms_its_own_episode_alone(value: float) -> None:
    facts = {"group_size": 3, "group_id": "g", "group_rollouts": ("a", "b", "c")}
    bad, good, better = told("a", value, **facts), told("b", 0.0, **facts), told("c", 1.0, **facts)
    groups, (change,) = credited(bad, good, better)
    credits = change.credits
    assert credits is not None
    status = {one.rollout_id: (one.status, one.advantage) for one in credits.members}
    assert status == {"a": ("reward_invalid", 0.0), "b": ("used", -1.0), "c": ("used", 1.0)}
    assert {one.rollout_id: one.detail for one in credits.members}["a"]
    assert groups.counters["reward_invalid"] == 1
    assert (credits.outcome, credits.mean) == ("train", 0.5)


def test_the_largest_rewards_that_can_be_make_finite_credit() -> None:
    facts = {"group_size": 2, "group_id": "g", "group_rollouts": ("a", "b")}
    _, (change,) = credited(told("a", 9.9e29, **facts), told("b", -9.9e29, **facts))
    assert change.credits is not None
    assert all(math.isfinite(one.advantage) for one in change.credits.members)
    assert math.isfinite(change.credits.std)


def test_a_group_of_a_size_that_nobody_has_ends_as_incomplete() -> None:
    _, (change,) = credited(told("a", group_size=2**31, group_id="g"), clock=NOW + 1_000)
    assert change.credits is not None
    assert change.credits.outcome == "group_incomplete"


def test_ten_thousand_calls_are_one_episode_of_as_many_samples() -> None:
    world, producer, count = World(), Producer("p"), 10_000
    calls = [call(number, tokens=1) for number in range(2, count + 2)]
    batches = [producer.seal(*calls[at : at + 250]) for at in range(0, count, 250)]
    values = [
        Producer("q").seal(start()),
        *batches,
        producer.seal(reward(count + 2), end(count + 3)),
    ]
    run(make_stage(world), [record(value, at, NOW) for at, value in enumerate(values)])
    (episode,) = world.published()
    assert (episode.n_spans, len(episode.calls), episode.complete) == (count + 3, count, True)
    assert len(world.samples()) == count
    _, (change,) = credited(episode)
    assert change.credits is not None
    assert len(change.credits.samples) == count
    assert rows_of([change], "rule", "credit").num_rows == 1


def test_a_rule_that_hangs_is_told_with_the_episode_that_it_hangs_at() -> None:
    now = [0.0]
    slow = SlowRule("mine@1", lambda: now[0])
    assert slow.told("r/a") == ""
    now[0] = SLOW_S
    assert "rule mine@1 has been at episode r/a for 5 s" in slow.told("r/a")
    assert slow.told("r/b") == "", "each episode has its own time"
    now[0] += 100
    assert slow.told("") == ""


def test_which_episode_a_rule_is_at_is_known_while_it_is_asked() -> None:
    seen: list[str] = []

    def look(episode: Episode) -> float:
        seen.append(groups.asking)
        return 1.0

    groups = Groups(Rule(name="look", function=look, version="1"), CreditMethod(), PATIENCE)
    groups.advance(0, NOW)
    arrivals = [Arrival(partition=0, log_time=NOW, episode=told("r1"))]
    groups.needs(arrivals)
    groups.fold(arrivals)
    assert (seen, groups.asking) == (["r1/a"], "")
