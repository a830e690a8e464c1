"""The intake accounts for every rollout that it does not train on."""

from collections import Counter
from dataclasses import replace

import pytest

from headrace.schemas import Member
from headrace.trainer.intake import Intake
from headrace.trainer.trainable import IntakeConfig
from tests.trainer.taking_in import NOW, at, credits, feed, ids, intake, sample


def test_rollouts_that_bring_nothing_fill_a_step_as_well_so_that_it_cannot_stall() -> None:
    core = intake(rollouts=4)
    core.add_sample(sample("g", 0), at("s", 0))
    only_one = credits("g")
    dead = replace(only_one.members[1], status="incomplete", reward=None)
    core.add_credits(
        replace(
            only_one,
            members=[only_one.members[0], dead],
            samples=only_one.samples[:1],
            missing_rollouts=["g-2", "g-3"],
        ),
        at("c", 0),
        NOW,
    )

    (group,) = core.next_batch()
    assert (group.rollouts, group.episodes) == (4, 1)
    outcomes = core.trained([group], NOW)
    assert [(o.rollout_id, o.reason) for o in outcomes] == [
        ("g-0", ""),
        ("g-1", "incomplete"),
        ("g-2", "never_started"),
        ("g-3", "never_started"),
    ]


def test_a_rollout_with_a_crashed_and_a_good_attempt_ends_by_its_samples_alone() -> None:
    core = intake(rollouts=1)
    feed_once = credits("g", size=1)
    crashed = Member(rollout_id="g-0", attempt="b", status="superseded")
    core.add_sample(sample("g", 0), at("s", 0))
    core.add_credits(replace(feed_once, members=[*feed_once.members, crashed]), at("c", 0), NOW)

    outcomes = core.trained(core.next_batch(), NOW)
    assert [(o.attempt, o.sample_id, o.outcome) for o in outcomes] == [
        ("a", "g-0/a/s/0", "trained")
    ]


def test_what_infrastructure_ended_is_dropped_for_it_unless_another_attempt_stands() -> None:
    core = intake(rollouts=1)
    whole = credits("g")
    cut_off = [
        Member(rollout_id=r, attempt="0", status="infrastructure") for r in ("g-0", "g-2", "g-3")
    ]
    silent = Member(rollout_id="g-3", attempt="1", status="used", reward=0.0)
    core.add_sample(sample("g", 0), at("s", 0))
    core.add_sample(sample("g", 1), at("s", 1))
    core.add_credits(replace(whole, members=[*cut_off, *whole.members, silent]), at("c", 0), NOW)

    outcomes = core.trained(core.next_batch(), NOW)
    assert [(o.rollout_id, o.attempt, o.outcome, o.reason) for o in outcomes] == [
        ("g-0", "a", "trained", ""),
        ("g-1", "a", "trained", ""),
        ("g-2", "0", "dropped", "infrastructure"),
        ("g-3", "1", "dropped", "no_call"),
    ]


@pytest.mark.parametrize("outcome", ["train", "group_incomplete"])
def test_a_rollout_that_was_taken_back_ends_so_whatever_becomes_of_its_group(outcome: str) -> None:
    core = intake(rollouts=1)
    whole = credits("g", outcome=outcome)
    taken_back = Member(rollout_id="g-3", attempt="1", status="cancelled")
    core.add_sample(sample("g", 0), at("s", 0))
    core.add_sample(sample("g", 1), at("s", 1))
    given = replace(whole, members=[*whole.members, taken_back])
    outcomes = core.add_credits(given, at("c", 0), NOW)
    outcomes += core.trained(core.next_batch(), NOW)
    (mine,) = [o for o in outcomes if o.rollout_id == "g-3"]
    assert (mine.attempt, mine.outcome, mine.reason) == ("1", "dropped", "cancelled")


def test_after_the_last_version_groups_are_accounted_and_nothing_is_held() -> None:
    core = intake(rollouts=9)
    feed(core, "g")
    core.add_sample(sample("h", 0), at("s", 5))

    outcomes = core.drop_all("max_versions", NOW)

    assert {(o.group_id, o.reason) for o in outcomes} == {("g", "max_versions")}
    assert (core.waiting_groups, core.held_samples, core.held_bytes) == (0, 0, 0)


@pytest.mark.parametrize("reason", ["zero_advantage", "eval", "group_incomplete", "reward_absent"])
def test_a_group_that_is_not_for_training_frees_its_rollouts_at_once(reason: str) -> None:
    core = intake()
    outcomes = core.add_credits(
        replace(credits("g", outcome=reason), missing_rollouts=["g-9"]), at("c", 0), NOW
    )

    assert Counter((o.rollout_id, o.outcome, o.reason) for o in outcomes) == {
        ("g-0", "dropped", reason): 1,
        ("g-1", "dropped", reason): 1,
        ("g-9", "dropped", "never_started"): 1,
    }


def test_a_group_whose_agents_all_crashed_before_a_call_still_ends() -> None:
    core = intake()
    crashed = replace(credits("g", outcome="zero_advantage"), samples=[])

    outcomes = core.add_credits(crashed, at("c", 0), NOW)

    assert [(o.rollout_id, o.sample_id, o.reason) for o in outcomes] == [
        ("g-0", "", "zero_advantage"),
        ("g-1", "", "zero_advantage"),
    ]


def test_a_group_older_than_the_staleness_bound_is_dropped_whole() -> None:
    core = intake(staleness=1)
    core.version = 1
    feed(core, "old", version=0)
    feed(core, "young", version=1)

    assert core.settle({}, NOW) == []
    core.version = 2
    outcomes = core.settle({}, NOW)

    assert {(o.group_id, o.reason) for o in outcomes} == {("old", "stale")}
    assert ids(core.next_batch()) == ["young"]


def test_stale_samples_leave_memory_before_their_credits_come() -> None:
    core = intake(staleness=1)
    core.add_sample(sample("g", 0, version=0), at("s", 3))
    core.add_sample(sample("g", 1, version=0), at("s", 4))
    core.version = 2
    assert core.settle({}, NOW) == []
    assert (core.held_samples, core.held_bytes, core.lowest_needed()) == (0, 0, {})

    core.add_sample(sample("g", 1, version=0), at("s", 9))  # a repetition does not bring it back
    assert core.add_credits(credits("g"), at("c", 0), NOW) == []
    assert {o.reason for o in core.settle({}, NOW)} == {"stale"}


def test_a_stale_sample_that_is_not_trained_anyway_does_not_drop_its_group() -> None:
    core = intake(staleness=1)
    core.version = 2
    core.add_sample(sample("g", 0, version=0), at("s", 0))
    core.add_sample(sample("g", 1, version=2), at("s", 1))
    core.settle({}, NOW)
    mixed = credits("g")
    superseded = replace(mixed.samples[0], trainable=False, reason="superseded")
    core.add_credits(replace(mixed, samples=[superseded, mixed.samples[1]]), at("c", 0), NOW)

    assert core.settle({}, NOW) == []
    assert ids(core.next_batch()) == ["g"]


def test_samples_beyond_the_memory_bound_are_let_go_oldest_first_and_accounted() -> None:
    core = intake(held_bytes=5_000)
    for group in ("a", "b", "c"):
        feed(core, group)
    outcomes = core.settle({}, NOW)

    assert {(o.group_id, o.reason) for o in outcomes} == {("a", "memory")}
    assert core.held_bytes <= 5_000
    assert ids(core.next_batch()) == ["b"]


def test_a_sample_that_cannot_come_any_more_drops_its_group() -> None:
    core = intake()
    core.add_sample(sample("g", 0), at("s", 0))
    core.add_credits(credits("g"), at("c", 0), NOW)
    assert core.unbounded() == [(("default", "g"), 0)]

    core.bound(("default", "g"), 8)
    assert core.settle({0: 7}, NOW) == []
    assert {o.reason for o in core.settle({0: 8}, NOW)} == {"sample_missing"}


def test_untrainable_calls_are_dropped_with_their_reason_beside_trained_ones() -> None:
    core = intake(rollouts=1)
    mixed = credits("g")
    mixed = replace(
        mixed,
        samples=[mixed.samples[0], replace(mixed.samples[1], trainable=False, reason="greedy")],
    )
    core.add_sample(sample("g", 0), at("s", 0))
    core.add_credits(mixed, at("c", 0), NOW)

    outcomes = core.trained(core.next_batch(), NOW)
    assert [(o.outcome, o.reason) for o in outcomes] == [("trained", ""), ("dropped", "greedy")]


def test_an_outcome_says_in_two_fields_why_and_what_exactly() -> None:
    state = intake()
    feed(state, "g")
    dropped = state.drop(("default", "g"), "bad_row", NOW, detail="no tokens")
    assert {(one.reason, one.detail) for one in dropped} == {("bad_row", "no tokens")}

    asked = credits("h", outcome="reward_absent")
    members = [replace(one, status="rule_error", detail="KeyError: 'x'") for one in asked.members]
    samples = [replace(one, trainable=False, reason="rule_error") for one in asked.samples]
    told = state.add_credits(replace(asked, members=members, samples=samples), at("c", 1), NOW)
    assert {(one.reason, one.detail) for one in told} == {("rule_error", "KeyError: 'x'")}


@pytest.mark.parametrize(
    ("wanted", "given", "reason"),
    [
        ("grpo", "grpo", ""),
        ("grpo", "rloo_std", ""),  # of an incomplete group
        ("grpo", "running_mean", ""),  # of a group of one
        ("grpo", "", ""),  # of before baselines were told
        ("grpo", "dr_grpo", "baseline_mismatch"),
        ("grpo", "none", "baseline_mismatch"),
        ("none", "none", ""),
        ("none", "running_mean", "baseline_mismatch"),
        ("none", "grpo", "baseline_mismatch"),
    ],
)
def test_credits_of_another_baseline_are_not_trained(wanted: str, given: str, reason: str) -> None:
    core = Intake(IntakeConfig(policy="p", rollouts_per_step=2, baseline=wanted))
    for i in range(2):
        core.add_sample(sample("g", i), at("s", i))
    outcomes = core.add_credits(replace(credits("g"), baseline=given), at("c", 0), NOW)
    assert {one.reason for one in outcomes} == ({reason} if reason else set())
    assert bool(core.next_batch(NOW)) is not bool(reason)
    assert all(repr(given) in one.detail for one in outcomes)
