"""A sample that cannot be trained is left out alone; its reward stays in the baseline."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from headrace.trainer.fitness import Fitness
from tests.trainer.taking_in import NOW, at, credits, feed, ids, intake, sample

FITNESS = Fitness(vocabulary=16, token_budget=4)


def test_a_call_longer_than_a_pack_is_dropped_alone_and_the_rest_of_its_group_trained() -> None:
    core = intake(fitness=FITNESS)
    core.add_sample(sample("g", 0), at("s", 0))  # 3 + 2 - 1 tokens: just fits
    core.add_sample(replace(sample("g", 1), prompt_ids=bytes(16)), at("s", 1))
    assert core.held_samples == 1
    core.add_credits(credits("g"), at("c", 0), NOW)

    (group,) = core.next_batch()
    assert list(group.samples) == ["g-0/a/s/0"]
    assert (group.rollouts, group.episodes) == (2, 2)  # denominators before any rejection
    trained, dropped = core.trained([group], NOW)
    assert (trained.outcome, trained.advantage) == ("trained", 1.0)
    assert (dropped.outcome, dropped.reason) == ("dropped", "too_long")
    assert "5 tokens" in dropped.detail
    assert "token_budget is 4" in dropped.detail
    assert dropped.reward == 1.0


def test_a_group_of_calls_that_are_all_too_long_ends_for_that() -> None:
    core = intake(fitness=FITNESS)
    for rollout in range(2):
        core.add_sample(replace(sample("g", rollout), prompt_ids=bytes(16)), at("s", rollout))
    core.add_credits(credits("g"), at("c", 0), NOW)
    assert [o.reason for o in core.settle({}, NOW)] == ["too_long", "too_long"]
    assert (core.waiting_groups, core.next_batch()) == (0, [])


def test_a_broken_row_is_found_when_it_comes_so_that_no_step_is_taken_with_less() -> None:
    """On its own it costs its group nothing, and its group's rollouts fill the step."""
    core = intake(rollouts=4, fitness=FITNESS)
    feed(core, "whole")
    core.add_sample(sample("g", 0), at("s", 8))
    core.add_sample(
        replace(sample("g", 1), sampled_ids=np.array([3, 16], "<u4").tobytes()), at("s", 9)
    )
    core.add_credits(credits("g"), at("c", 8), NOW)

    batch = core.next_batch()
    assert ids(batch) == ["whole", "g"]
    assert sum(group.episodes for group in batch) == 4
    outcomes = core.trained(batch, NOW)
    assert Counter(o.reason for o in outcomes) == {"": 3, "bad_row": 1}
    assert any("vocabulary" in o.detail for o in outcomes)


@pytest.mark.parametrize(
    "broken",
    [
        {"advantage": float("nan")},
        {"token_weights": bytes(4)},
        {"token_weights": np.array([1.0, np.inf], "<f4").tobytes()},
    ],
)
def test_a_credit_that_does_not_hold_costs_its_sample_alone(broken: dict[str, object]) -> None:
    core = intake(fitness=FITNESS)
    for rollout in range(2):
        core.add_sample(sample("g", rollout), at("s", rollout))
    made = credits("g")
    first = replace(made.samples[0], **broken)  # type: ignore[arg-type]  # any field
    core.add_credits(replace(made, samples=[first, made.samples[1]]), at("c", 0), NOW)
    outcomes = core.trained(core.next_batch(), NOW)
    assert [o.reason for o in outcomes] == ["bad_row", ""]


def test_a_stale_sample_is_withheld_and_its_group_trained_without_it() -> None:
    core = intake(staleness=1)
    core.version = 1
    core.add_sample(sample("g", 0, version=0), at("s", 0))
    core.add_sample(sample("g", 1, version=1), at("s", 1))
    core.add_credits(credits("g"), at("c", 0), NOW)
    core.version = 2
    assert core.settle({}, NOW) == []
    (group,) = core.next_batch()
    assert (list(group.samples), group.episodes) == (["g-1/a/s/0"], 2)
    withheld, trained = core.trained([group], NOW)
    assert (withheld.outcome, withheld.reason, withheld.reward) == ("dropped", "stale", 0.0)
    assert trained.outcome == "trained"


def test_where_it_is_asked_for_a_stale_sample_drops_its_group() -> None:
    core = intake(staleness=1, stale="drop")
    core.version = 1
    core.add_sample(sample("g", 0, version=0), at("s", 0))
    core.add_sample(sample("g", 1, version=1), at("s", 1))
    core.add_credits(credits("g"), at("c", 0), NOW)
    core.version = 2
    assert [o.reason for o in core.settle({}, NOW)] == ["stale", "stale"]
    assert core.next_batch() == []


def test_a_changed_rule_with_a_step_half_full_does_not_stall_the_next_at_staleness_0() -> None:
    """The old groups hold slots and get no more company; no version makes them stale."""
    core = intake(rollouts=4, staleness=0)
    feed(core, "old")
    for rollout in range(2):
        core.add_sample(sample("new", rollout), at("s", 10 + rollout))
    changed = replace(credits("new"), rule="r@2")
    core.add_credits(changed, at("c", 10, log_time=5), NOW)
    outcomes = core.settle({}, NOW)
    assert {(o.group_id, o.reason) for o in outcomes} == {("old", "rule_changed")}
    for rollout in range(2):
        core.add_sample(sample("next", rollout), at("s", 20 + rollout))
    core.add_credits(replace(credits("next"), rule="r@2"), at("c", 20, log_time=6), NOW)
    assert core.settle({}, NOW) == []
    assert ids(core.next_batch()) == ["new", "next"]


def test_while_one_rule_can_fill_a_step_groups_of_another_wait() -> None:
    core = intake(rollouts=2, staleness=0)
    core.add_sample(sample("old", 0), at("s", 0))
    core.add_credits(replace(credits("old", size=1), rule="r@0"), at("c", 0), NOW)
    feed(core, "new")
    assert core.settle({}, NOW) == []
    assert ids(core.next_batch()) == ["new"]


@pytest.mark.parametrize("held", [2_000, 20_000])
def test_a_turn_looks_at_what_has_changed_and_not_at_all_that_is_held(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: how often a group or a sample is looked at in a turn without news."""
    core = intake(rollouts=10 * held)
    for number in range(held // 2):
        feed(core, f"g{number}")
    looks = 0
    original = type(core)._look

    def counted(*arguments: object) -> None:
        nonlocal looks
        looks += 1
        original(*arguments)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(type(core), "_look", counted)
    monkeypatch.setattr(type(core), "_trainable", lambda *_: pytest.fail("no step is due"))
    assert core.settle({}, NOW) == []
    assert core.next_batch() == []
    assert core.lowest_needed() == {("s", 0): 0, ("c", 0): 0}
    feed(core, "one-more")
    assert looks <= 3
