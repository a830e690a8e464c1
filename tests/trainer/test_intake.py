"""The intake: joining credits with samples, and accounting for every rollout."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.schemas import Credits, Member, Outcome, Sample, SampleCredit
from headrace.trainer.decided import SKEW_MS, Decided, Decision
from headrace.trainer.errors import TrainerError
from headrace.trainer.intake import (
    Intake,
    IntakeConfig,
    Position,
    TrainableGroup,
)

NOW = 1_000
RESTART = 10 * SKEW_MS


def intake(rollouts: int = 2, staleness: int = 1, held_bytes: int = 1 << 30) -> Intake:
    return Intake(
        IntakeConfig(
            policy="p",
            rollouts_per_step=rollouts,
            max_staleness=staleness,
            max_held_bytes=held_bytes,
        )
    )


def ids(batch: list[TrainableGroup]) -> list[str]:
    return [group.credits.group_id for group in batch]


def sample(group: str, rollout: int, version: int = 0, policy: str = "p") -> Sample:
    return Sample(
        sample_id=f"{group}-{rollout}/a/s/0",
        rollout_id=f"{group}-{rollout}",
        attempt="a",
        group_id=group,
        policy=policy,
        prompt_ids=np.arange(3, dtype="<u4").tobytes(),
        sampled_ids=np.arange(2, dtype="<u4").tobytes(),
        logprobs=np.zeros(2, "<f4").tobytes(),
        run_versions=[version],
        run_lengths=[2],
    )


def credits(group: str, size: int = 2, outcome: str = "train", version: int = 10) -> Credits:
    rollouts = [f"{group}-{i}" for i in range(size)]
    return Credits(
        group_id=group,
        group_size=size,
        policy="p",
        rule="r@1",
        credit="grpo@1",
        version=version,
        outcome=outcome,
        members=[
            Member(rollout_id=r, attempt="a", episode_version=5, status="used", reward=float(i))
            for i, r in enumerate(rollouts)
        ],
        samples=[
            SampleCredit(sample_id=f"{r}/a/s/0", rollout_id=r, attempt="a", advantage=1.0)
            for r in rollouts
        ],
    )


def at(topic: str, offset: int, partition: int = 0, log_time: int = 0) -> Position:
    return Position(topic, partition, offset, log_time)


def feed(core: Intake, group: str, version: int = 0, size: int = 2) -> list[Outcome]:
    for i in range(size):
        core.add_sample(sample(group, i, version), at("s", i))
    return core.add_credits(credits(group, size), at("c", 0), NOW)


def test_a_group_trains_once_and_whole_whatever_comes_first() -> None:
    core = intake()
    core.add_credits(credits("g"), at("c", 7), NOW)
    core.add_sample(sample("g", 0), at("s", 3))
    assert core.next_batch() == []

    core.add_sample(sample("g", 1), at("s", 4))
    (group,) = core.next_batch()
    outcomes = core.trained([group], NOW)

    assert set(group.samples) == {"g-0/a/s/0", "g-1/a/s/0"}
    assert [(o.outcome, o.step, o.advantage, o.tokens) for o in outcomes] == [
        ("trained", 1, 1.0, 2)
    ] * 2
    assert core.next_batch() == []


def test_repeated_records_change_nothing() -> None:
    core = intake()
    feed(core, "g")
    feed(core, "g")
    core.trained(core.next_batch(), NOW)

    assert feed(core, "g") == []
    assert core.next_batch() == []
    assert (core.waiting_groups, core.held_samples) == (0, 0)


def test_a_step_waits_for_enough_rollouts_and_takes_the_oldest_groups() -> None:
    core = intake(rollouts=4)
    for offset, group in enumerate(("late", "middle", "early")):
        for i in range(2):
            core.add_sample(sample(group, i), at("s", offset))
        core.add_credits(credits(group), at("c", 9 - offset), NOW)
        if offset == 0:
            assert core.next_batch() == []

    assert ids(core.next_batch()) == ["early", "middle"]


def test_the_oldest_group_is_the_one_the_broker_took_first_in_any_partition() -> None:
    core = intake(rollouts=4)
    for partition, group in enumerate(("late", "middle", "early")):
        for i in range(2):
            core.add_sample(sample(group, i), at("s", 0, partition))
        core.add_credits(credits(group), at("c", 0, partition, log_time=9 - partition), NOW)

    assert ids(core.next_batch()) == ["early", "middle"]


def test_a_step_never_mixes_rules() -> None:
    core = intake(rollouts=4)
    for offset, (group, rule) in enumerate([("a", "r@1"), ("b", "r@2"), ("c", "r@2")]):
        for i in range(2):
            core.add_sample(sample(group, i), at("s", offset))
        core.add_credits(replace(credits(group), rule=rule), at("c", offset), NOW)

    assert ids(core.next_batch()) == ["b", "c"]


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


def test_one_group_id_in_two_projects_is_two_groups() -> None:
    core = intake()
    for project in ("x", "y"):
        for i in range(2):
            core.add_sample(replace(sample("g", i), project=project), at("s", i))
        core.add_credits(replace(credits("g"), project=project), at("c", 0), NOW)

    core.trained(core.next_batch(), NOW)
    assert [g.credits.project for g in core.next_batch()] == ["y"]


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


def test_after_the_last_version_groups_are_accounted_and_nothing_is_held() -> None:
    core = intake(rollouts=9)
    feed(core, "g")
    core.add_sample(sample("h", 0), at("s", 5))

    outcomes = core.drop_all("max_versions", NOW)

    assert {(o.group_id, o.reason) for o in outcomes} == {("g", "max_versions")}
    assert (core.waiting_groups, core.held_samples, core.held_bytes) == (0, 0, 0)


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


def after_a_restart() -> Intake:
    """An intake that knows nothing yet of what was decided before RESTART."""
    return Intake(IntakeConfig(policy="p", rollouts_per_step=2), 0, Decided(RESTART))


def trained_before(core: Intake, record: Sample | Credits, position: Position) -> None:
    """The past that the record needs is looked up: group g was trained."""
    span = core.needs(record, position)
    assert span is not None
    core.restore(span, {("default", "g"): Decision(10, trained=True, log_time=span.since)})
    assert core.needs(record, position) is None


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
    feed(core, "old", version=0)
    feed(core, "young", version=1)

    core.version = 1
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


def test_other_policies_pass_by() -> None:
    core = intake()
    core.add_sample(sample("g", 0, policy="other"), at("s", 0))
    assert core.add_credits(replace(credits("g"), policy="other"), at("c", 0), NOW) == []
    assert (core.waiting_groups, core.held_samples) == (0, 0)


def test_the_lowest_needed_offsets_are_those_of_undecided_records() -> None:
    core = intake()
    core.add_sample(sample("g", 0), Position("s", 1, 5))
    core.add_sample(sample("h", 0), Position("s", 1, 3))
    core.add_credits(credits("g"), Position("c", 1, 9), NOW)
    assert core.lowest_needed() == {("s", 1): 3, ("c", 1): 9}

    core.add_credits(credits("h", outcome="eval"), Position("c", 1, 10), NOW)
    assert core.lowest_needed() == {("s", 1): 5, ("c", 1): 9}


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(TrainerError, match="rollouts_per_step"):
        IntakeConfig(policy="p", rollouts_per_step=0)
    with pytest.raises(TrainerError, match="max_staleness"):
        IntakeConfig(policy="p", max_staleness=-1)
    with pytest.raises(TrainerError, match="max_held_bytes"):
        IntakeConfig(policy="p", max_held_bytes=0)
    with pytest.raises(TrainerError, match="policy"):
        IntakeConfig(policy="")


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_every_rollout_ends_exactly_once_in_any_order_with_repeats(data: st.DataObject) -> None:
    outcomes_of = st.sampled_from(["train", "train", "train", "zero_advantage", "eval"])
    groups = {f"g{i}": data.draw(outcomes_of) for i in range(data.draw(st.integers(1, 5)))}
    events: list[tuple[str, int]] = [(g, i) for g in groups for i in (-1, 0, 1)]
    order = data.draw(st.permutations(events + events[: data.draw(st.integers(0, 4))]))
    core = intake(rollouts=data.draw(st.integers(1, 4)))
    ended: list[Outcome] = []
    for offset, (group, i) in enumerate(order):
        if i >= 0:
            core.add_sample(sample(group, i, core.version), at("s", offset))
        else:
            ended += core.add_credits(credits(group, outcome=groups[group]), at("c", offset), NOW)
        ended += core.settle({}, NOW)
        if batch := core.next_batch():
            versions = [v for g in batch for s in g.samples.values() for v in s.run_versions]
            assert core.version - min(versions) <= 1
            ended += core.trained(batch, NOW)

    counts = Counter(o.sample_id for o in ended)
    assert all(n == 1 for n in counts.values())
    open_groups = {p.group_id for p in ended} ^ set(groups)
    assert len(ended) == 2 * (len(groups) - len(open_groups))
    assert core.waiting_groups == len(open_groups)


def test_what_would_be_stale_first_is_trained_first() -> None:
    core = intake(rollouts=2)
    for offset, (group, version) in enumerate((("young", 1), ("old", 0))):
        for i in range(2):
            core.add_sample(sample(group, i, version), at("s", 2 * offset + i))
        core.add_credits(credits(group), at("c", offset), NOW)

    assert [group.credits.group_id for group in core.next_batch()] == ["old"]
