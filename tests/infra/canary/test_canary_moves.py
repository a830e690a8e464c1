"""What is to be said next, by what was said last, the versions and the verdict."""

import math
from dataclasses import replace

import pytest

from headrace.infra.canary.moves import Did, Move, Standing, next_move
from headrace.infra.canary.rewards import columns
from headrace.infra.canary.verdict import Finding, Verdict
from headrace.schemas import Traffic, TrafficShare

POLICY, SHARE = "p", 0.2
LINE = {0: -1, 1: 0, 2: 1, 3: 2}


def said(version: int, *shares: int, judged: int = -1) -> Traffic:
    told = [TrafficShare(version=one, share=0.1) for one in shares]
    return Traffic(policy=POLICY, version=version, shares=told, judged=judged)


def standing(traffic: Traffic, parents: dict[int, int], *pruned: int) -> Standing:
    return Standing(traffic=traffic, parents=parents, here=parents.keys() - set(pruned))


def verdict(finding: Finding) -> Verdict:
    return Verdict(
        finding=finding,
        comparisons=12,
        log_stake=math.log(200),
        canary_rollouts=14,
        stable_rollouts=80,
        canary_reward=0.1,
        stable_reward=0.7,
    )


def moved(at: Standing, finding: Finding | None = None) -> Move:
    move = next_move(at, None if finding is None else verdict(finding), SHARE)
    assert move is not None
    assert move.traffic.said_by == "canary"
    assert move.traffic.policy == POLICY
    return move


def test_a_name_that_stood_for_the_newest_is_kept_on_it() -> None:
    move = moved(standing(said(-1), LINE))
    assert (move.did, move.traffic.version, move.traffic.shares) == (Did.KEPT, 3, [])
    assert move.undo == "headrace traffic p --newest"


def test_the_newest_version_that_was_made_of_the_kept_one_gets_a_share() -> None:
    # 4 was made of 3, 5 of 1: a branch that nobody follows any more.
    move = moved(standing(said(3), {**LINE, 4: 3, 5: 3, 6: 1}))
    assert (move.did, move.traffic.version) == (Did.TRIED, 3)
    assert move.traffic.shares == [TrafficShare(version=5, share=SHARE)]


def test_what_was_judged_or_is_gone_is_not_tried() -> None:
    assert next_move(standing(said(3, judged=4), {**LINE, 4: 3}), None, SHARE) is None
    assert next_move(standing(said(3), {**LINE, 4: 3}, 4), None, SHARE) is None
    assert next_move(standing(said(3), LINE), None, SHARE) is None
    assert next_move(standing(said(-1), {}), None, SHARE) is None


def test_a_worse_version_loses_its_share_and_is_not_tried_again() -> None:
    at = standing(said(3, 4), {**LINE, 4: 3})
    move = moved(at, Finding.WORSE)
    assert (move.did, move.version) == (Did.ROLLED_BACK, 4)
    assert (move.traffic.version, move.traffic.shares, move.traffic.judged) == (3, [], 4)
    assert "version 4 is worse than version 3: 12 comparisons" in move.traffic.why
    assert "0.1 (14 rollouts) beside 0.7 (80), p = 0.005" in move.traffic.why
    assert move.undo == "headrace traffic p --version 4"
    # The record that it wrote is all that is known after it.
    assert next_move(replace(at, traffic=move.traffic), None, SHARE) is None


def test_a_version_that_passed_gets_the_name() -> None:
    move = moved(standing(said(3, 4), {**LINE, 4: 3}), Finding.PASSED)
    assert (move.did, move.traffic.version, move.traffic.shares) == (Did.PROMOTED, 4, [])
    assert move.undo == "headrace traffic p --version 3"


def test_an_open_verdict_waits_and_newer_versions_wait_with_it() -> None:
    at = standing(said(3, 4), {**LINE, 4: 3, 5: 3})
    assert next_move(at, verdict(Finding.OPEN), SHARE) is None
    assert next_move(at, None, SHARE) is None  # ClickHouse is away


def test_a_version_on_trial_whose_weights_are_gone_is_given_up() -> None:
    move = moved(standing(said(3, 4), {**LINE, 4: 3, 5: 3}, 4))
    assert (move.did, move.traffic.version, move.traffic.judged) == (Did.GIVEN_UP, 3, 4)


@pytest.mark.parametrize("plan", [said(3, 1, 2), said(-1, 2)])
def test_shares_that_a_person_planned_are_left_alone(plan: Traffic) -> None:
    assert next_move(standing(plan, {**LINE, 4: 3}), verdict(Finding.WORSE), SHARE) is None


def test_a_version_counts_for_whom_it_was_drawn_and_only_if_it_answered() -> None:
    def row(rollout_id: str, version: int, reward: float | None = 1.0) -> dict[str, object]:
        return {
            "project": "default",
            "group_id": "g",
            "rollout_id": rollout_id,
            "alone": 0,
            "partition": 3,
            "block": 0,
            "settled": 1,
            "reward": reward,
            "version_min": version,
            "version_max": version,
        }

    rows = [
        row("canary-1", 4),
        row("canary-2", 3),  # it began before its share did
        row("canary-3", -1, 0.0),  # weights that nobody could load: a result
        row("other-1", 3),
        row("other-2", 4),  # its client pinned it
        row("other-3", 3, None),
    ]
    found = columns(rows, lambda rollout: rollout.startswith("canary"), (3, 4))
    assert found.canary.tolist() == [True] * 3 + [False] * 3
    told = [None if math.isnan(reward) else reward for reward in found.reward]
    assert told == [1.0, None, 0.0, 1.0, None, None]
    assert found.block.tolist() == [0] * 6


def test_ordinary_traffic_is_compared_with_its_neighbours_in_its_partition() -> None:
    def row(group_id: str, *, alone: bool = True, **place: object) -> dict[str, object]:
        told: dict[str, object] = {"project": "p", "partition": 0, "block": 0, "settled": 1}
        return (
            told
            | {
                "group_id": group_id,
                "rollout_id": group_id,
                "alone": int(alone),
                "reward": 1.0,
                "version_min": 3,
                "version_max": 3,
            }
            | place
        )

    rows = [
        row("a"),
        row("b", settled=0),
        row("c", block=1),
        row("d", partition=1),
        row("e", project="q"),
        row("a", alone=False),
    ]
    found = columns(rows, lambda _: False, (3, 4))
    assert found.block.tolist() == [0, 0, 1, 2, 3, 4]
    assert found.settled.tolist() == [True, False, True, True, True, True]
