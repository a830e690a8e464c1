"""The intake joins credits with samples: each group trains once, whole and in its turn."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.schemas import Outcome
from headrace.trainer.errors import TrainerError
from headrace.trainer.pinned import Position
from headrace.trainer.trainable import IntakeConfig
from tests.trainer.taking_in import NOW, at, credits, feed, ids, intake, sample


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


def test_one_group_id_in_two_projects_is_two_groups() -> None:
    core = intake()
    for project in ("x", "y"):
        for i in range(2):
            core.add_sample(replace(sample("g", i), project=project), at("s", i))
        core.add_credits(replace(credits("g"), project=project), at("c", 0), NOW)

    core.trained(core.next_batch(), NOW)
    assert [g.credits.project for g in core.next_batch()] == ["y"]


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
