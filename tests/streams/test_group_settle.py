"""What becomes of a group: outcomes, members, and which samples may be trained."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from headrace.connectors.engines.roles import AgentsSettings, roles_of
from headrace.schemas import Credits, Episode, EpisodeCall
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.reward import Rule

ROLLOUTS = ["r0", "r1", "r2", "r3"]
DEADLINE = 100_000
PATIENCE = GroupPatience(grace_ms=1_000, max_wait_ms=50_000)
LATE = DEADLINE + PATIENCE.grace_ms


def result_of(episode: Episode) -> float | None:
    """Result "" is not known yet, "boom" breaks the rule."""
    if episode.result == "boom":
        raise RuntimeError("no such result")
    return float(episode.result) if episode.result else None


def call(span: str = "s0", **facts: object) -> EpisodeCall:
    given: dict[str, Any] = {"policy": "p", "agent": "solver", "trainable": True}
    return EpisodeCall(**{"span_id": span, **given, **facts})


def episode(rollout: str, result: str = "1", attempt: str = "a0", **facts: object) -> Episode:
    given: dict[str, Any] = {
        "group_id": "g",
        "group_size": len(ROLLOUTS),
        "group_rollouts": ROLLOUTS,
        "policy": "p",
        "deadline": DEADLINE,
        "version": 5,
        "status": "ok",
        "calls": [call()],
    }
    return Episode(rollout_id=rollout, attempt=attempt, result=result, **(given | facts))


def groups_of(
    method: CreditMethod | None = None, rule: Callable[[Episode], float | None] = result_of
) -> Groups:
    return Groups(
        Rule(name="result", version="1", function=rule), method or CreditMethod(), PATIENCE
    )


def take(groups: Groups, *episodes: Episode, at: int = 1_000) -> Credits | None:
    """Fold episodes at a log time; the Credits of the one group, if it is final."""
    arrivals = [Arrival(partition=0, log_time=at, episode=one) for one in episodes]
    groups.advance(0, at)
    groups.needs(arrivals)
    groups.fold(arrivals)
    changes = groups.settle()
    groups.told(changes)
    assert len(changes) <= 1
    return changes[0].credits if changes else None


def final(groups: Groups, *episodes: Episode, at: int = 1_000) -> Credits:
    credits = take(groups, *episodes, at=at)
    assert credits is not None
    return credits


def test_a_group_waits_for_its_last_rollout_and_is_credited_whole() -> None:
    groups = groups_of()
    assert take(groups, *[episode(r, "1") for r in ROLLOUTS[:3]]) is None
    credits = final(groups, episode("r3", "0"))
    assert credits.outcome == "train"
    assert credits.baseline == "grpo"
    assert (credits.version, credits.log_first) == (4 * 5, 1_000)
    assert (credits.mean, credits.std) == (0.75, 0.5)
    assert [m.status for m in credits.members] == ["used"] * 4
    assert sum(m.advantage for m in credits.members) == pytest.approx(0)
    assert [s.sample_id for s in credits.samples] == [f"{r}/a0/s0/0" for r in ROLLOUTS]
    assert all(s.trainable and s.token_weights is None for s in credits.samples)
    assert credits.samples[3].advantage == credits.members[3].advantage < 0
    assert (credits.rule, credits.credit) == ("result@1", "uniform/grpo/uniform@3")


def test_equal_rewards_are_told_apart_from_training() -> None:
    credits = final(groups_of(), *[episode(r, "1") for r in ROLLOUTS])
    assert credits.outcome == "zero_advantage"
    assert [s.reason for s in credits.samples] == ["zero_advantage"] * 4
    assert not any(s.trainable for s in credits.samples)


def test_a_rollout_without_a_group_is_never_its_own_baseline() -> None:
    alone = Episode(rollout_id="r", attempt="a", result="1", version=3, calls=[call(policy="")])
    credits = final(groups_of(), alone)
    assert credits.group_id == "r"
    assert credits.outcome == "zero_advantage"
    assert [m.advantage for m in credits.members] == [0.0]


def test_held_out_rollouts_are_scored_and_never_trained() -> None:
    results = dict(zip(ROLLOUTS, ["1", "0", "1", "0"], strict=True))
    credits = final(
        groups_of(), *[episode(r, result, split="eval") for r, result in results.items()]
    )
    assert credits.outcome == "eval"
    assert [m.reward for m in credits.members] == [1, 0, 1, 0]
    assert {(s.trainable, s.reason) for s in credits.samples} == {(False, "eval")}


def test_one_held_out_rollout_holds_out_its_group() -> None:
    episodes = [episode(r, str(i)) for i, r in enumerate(ROLLOUTS[:3])]
    credits = final(groups_of(), *episodes, episode("r3", "7", split="eval"))
    assert credits.outcome == "eval"
    assert not any(s.trainable for s in credits.samples)


def test_at_its_deadline_half_a_group_is_credited_by_rloo() -> None:
    groups = groups_of()
    assert take(groups, episode("r0", "1"), episode("r2", "0")) is None
    assert groups.next_deadline(0) == LATE
    assert take(groups, at=LATE - 1) is None
    credits = final(groups, at=LATE)
    assert credits.outcome == "train"
    assert credits.baseline == "rloo_std"
    # RLOO's ±1 over the deviation of 1, 0: √½.
    assert [m.advantage for m in credits.members] == pytest.approx([2**0.5, -(2**0.5)], abs=1e-5)
    assert credits.missing_rollouts == ["r1", "r3"]
    assert groups.next_deadline(0) is None


def test_less_than_half_a_group_is_dropped_as_incomplete() -> None:
    groups = groups_of()
    take(groups, episode("r1", "1"))
    credits = final(groups, at=LATE)
    assert credits.outcome == "group_incomplete"
    assert [s.reason for s in credits.samples] == ["group_incomplete"]
    assert credits.missing_rollouts == ["r0", "r2", "r3"]


def test_without_a_deadline_the_wait_counts_from_the_first_episode() -> None:
    groups = groups_of()
    take(groups, episode("r0", "1", deadline=0), at=2_000)
    take(groups, episode("r1", "0", deadline=0), at=9_000)
    assert groups.next_deadline(0) == 2_000 + PATIENCE.max_wait_ms


def test_a_reward_is_awaited_until_the_deadline_and_then_absent_not_zero() -> None:
    groups = groups_of()
    assert take(groups, *[episode(r, str(i)) for i, r in enumerate(ROLLOUTS[:3])]) is None
    assert take(groups, episode("r3", "")) is None
    credits = final(groups, at=LATE)
    assert credits.baseline == "rloo_std"
    absent = credits.members[3]
    assert (absent.status, absent.reward, absent.advantage) == ("reward_absent", None, 0.0)
    assert credits.mean == 1.0
    assert (credits.samples[3].trainable, credits.samples[3].reason) == (False, "reward_absent")


def test_a_late_reward_revises_the_whole_group_under_a_higher_version() -> None:
    groups = groups_of()
    take(groups, *[episode(r, str(i)) for i, r in enumerate(ROLLOUTS[:3])], episode("r3", ""))
    before = final(groups, at=LATE)
    after = final(groups, episode("r3", "3", version=7), at=LATE + 5)
    assert after.version == before.version + 2
    assert after.baseline == "grpo"
    assert [m.status for m in after.members] == ["used"] * 4
    old, new = ([m.advantage for m in credits.members] for credits in (before, after))
    assert all(a != b for a, b in zip(old, new, strict=True))


def test_when_no_rollout_has_a_reward_the_group_says_so() -> None:
    groups = groups_of()
    take(groups, *[episode(r, "") for r in ROLLOUTS])
    assert final(groups, at=LATE).outcome == "reward_absent"


@pytest.mark.parametrize(("reward", "outcome"), [(0.0, "zero_advantage"), (None, "reward_absent")])
def test_when_every_agent_crashes_the_rule_decides(reward: float | None, outcome: str) -> None:
    def rule(episode: Episode) -> float | None:
        return reward if episode.status == "error" else 1.0

    groups = groups_of(rule=rule)
    crashed = [episode(r, status="error", calls=[]) for r in ROLLOUTS]
    credits = take(groups, *crashed) or final(groups, at=LATE)
    assert credits.outcome == outcome
    assert credits.samples == []


@pytest.mark.parametrize(
    ("result", "status"),
    [("nan", "reward_invalid"), ("inf", "reward_invalid"), ("boom", "rule_error")],
)
def test_an_invalid_reward_is_left_out_and_keeps_nobody_waiting(result: str, status: str) -> None:
    groups = groups_of()
    results = ["1", "0", "0", result]
    credits = final(groups, *[episode(r, x) for r, x in zip(ROLLOUTS, results, strict=True)])
    assert credits.outcome == "train"
    assert credits.baseline == "rloo_std"
    assert credits.members[3].status == status
    assert credits.members[3].detail
    assert credits.members[3].reward is None
    assert credits.samples[3].reason == status
    assert all(math.isfinite(s.advantage) for s in credits.samples)
    assert groups.counters[status] == 1


def test_the_first_complete_attempt_is_used_and_the_others_are_superseded() -> None:
    groups = groups_of()
    take(groups, episode("r0", "5", attempt="a0", complete=False))
    take(groups, episode("r0", "1", attempt="a1"))
    take(groups, episode("r0", "9", attempt="a2"))
    take(groups, *[episode(r, "0") for r in ROLLOUTS[1:]])
    # Its missing batch arrives: it is complete, but not the first that was.
    credits = final(groups, episode("r0", "5", attempt="a0", version=7))
    status = {m.attempt: m.status for m in credits.members if m.rollout_id == "r0"}
    assert status == {"a0": "superseded", "a1": "used", "a2": "superseded"}
    assert credits.mean == 0.25
    assert [s.reason for s in credits.samples[:3]] == ["superseded", "", "superseded"]


def test_an_episode_with_a_hole_is_awaited_then_left_out() -> None:
    groups = groups_of()
    take(groups, *[episode(r, str(i)) for i, r in enumerate(ROLLOUTS[:3])])
    assert take(groups, episode("r3", "1", complete=False)) is None
    credits = final(groups, at=LATE)
    assert credits.members[3].status == "incomplete"
    assert credits.samples[3].reason == "incomplete"
    assert credits.missing_rollouts == []


def cut_off(rollout: str, attempt: str = "a0", **facts: Any) -> Episode:
    """An attempt that infrastructure ended; a rule that were asked would break."""
    given: dict[str, Any] = {"status": "error", "signals": {"worker_died": 1}}
    return episode(rollout, "boom", attempt=attempt, **(given | facts))


@pytest.mark.parametrize("event", ["worker_died", "runner_stopped"])
def test_an_attempt_that_infrastructure_ended_leaves_its_place_to_the_next(event: str) -> None:
    groups = groups_of()
    take(groups, *[episode(r, "1") for r in ROLLOUTS[1:]])
    assert take(groups, cut_off("r0", signals={event: 1})) is None
    assert take(groups, cut_off("r0", "a1", signals={event: 1})) is None
    credits = final(groups, episode("r0", "5", attempt="a2"))
    assert (credits.baseline, credits.mean) == ("grpo", 2.0)
    mine = [m for m in credits.members if m.rollout_id == "r0"]
    assert [m.status for m in mine] == ["infrastructure", "infrastructure", "used"]
    assert [m.reward for m in mine] == [None, None, 5.0]
    assert [s.reason for s in credits.samples[:3]] == ["infrastructure", "infrastructure", ""]
    assert groups.counters["rule_error"] == 0


def test_without_another_attempt_the_rollout_is_out_of_the_statistics_at_the_deadline() -> None:
    groups = groups_of()
    take(groups, *[episode(r, str(i)) for i, r in enumerate(ROLLOUTS[:3])])
    assert take(groups, cut_off("r3", calls=[])) is None
    assert take(groups, at=LATE - 1) is None
    credits = final(groups, at=LATE)
    assert (credits.outcome, credits.baseline, credits.mean) == ("train", "rloo_std", 1.0)
    out = credits.members[3]
    assert (out.status, out.reward, out.advantage) == ("infrastructure", None, 0.0)
    assert credits.missing_rollouts == []


def test_another_attempt_after_the_deadline_revises_the_group() -> None:
    groups = groups_of()
    take(groups, *[episode(r, str(i)) for i, r in enumerate(ROLLOUTS[:3])], cut_off("r3"))
    before = final(groups, at=LATE)
    after = final(groups, episode("r3", "3", attempt="a1"), at=LATE + 5)
    assert (before.baseline, after.baseline) == ("rloo_std", "grpo")
    assert after.version > before.version
    assert [m.status for m in after.members] == ["used"] * 3 + ["infrastructure", "used"]


def test_a_group_that_infrastructure_ended_whole_is_incomplete() -> None:
    groups = groups_of()
    take(groups, *[cut_off(r) for r in ROLLOUTS])
    credits = final(groups, at=LATE)
    assert credits.outcome == "group_incomplete"
    assert [m.status for m in credits.members] == ["infrastructure"] * 4


def test_a_group_does_not_wait_for_rollouts_that_were_taken_back() -> None:
    groups = groups_of()
    take(groups, *[episode(r, str(i)) for i, r in enumerate(ROLLOUTS[:3])])
    assert take(groups, cut_off("r3", signals={"worker_died": 1, "retried": 1})) is None
    credits = final(groups, cut_off("r3", "a1", signals={"cancelled": 1}))
    assert (credits.outcome, credits.baseline, credits.mean) == ("train", "rloo_std", 1.0)
    assert [m.status for m in credits.members[3:]] == ["infrastructure", "cancelled"]
    assert [s.reason for s in credits.samples[3:]] == ["infrastructure", "cancelled"]


def test_a_group_that_was_taken_back_ends_at_once_and_says_so_of_each_sample() -> None:
    groups = groups_of()
    credits = final(groups, *[cut_off(r, signals={"cancelled": 1}) for r in ROLLOUTS])
    assert credits.outcome == "group_incomplete"
    assert [m.status for m in credits.members] == ["cancelled"] * 4
    assert [s.reason for s in credits.samples] == ["cancelled"] * 4


def test_a_rollout_with_a_result_keeps_it_though_it_was_taken_back_elsewhere() -> None:
    groups = groups_of()
    taken_back = cut_off("r0", "a1", signals={"cancelled": 1})
    assert take(groups, episode("r0", "4"), taken_back) is None
    credits = final(groups, *[episode(r, "0") for r in ROLLOUTS[1:]])
    assert (credits.baseline, credits.mean) == ("grpo", 1.0)
    assert [m.status for m in credits.members[:2]] == ["used", "cancelled"]


def test_what_infrastructure_is_found_to_have_ended_only_later_is_taken_out_again() -> None:
    groups = groups_of()
    # Closed by the clock, its end still to come, and of no task: so nobody owed it.
    lost = episode("r3", "9", status="unset", deadline=0)
    before = final(groups, *[episode(r, str(i)) for i, r in enumerate(ROLLOUTS[:3])], lost)
    assert before.mean == 3.0
    take(groups, cut_off("r3", version=9))
    after = final(groups, episode("r3", "3", attempt="a1"))
    assert after.mean == 1.5
    assert [m.status for m in after.members[3:]] == ["infrastructure", "used"]


def test_an_attempt_of_a_task_that_was_closed_before_its_end_is_waited_for() -> None:
    groups = groups_of()
    take(groups, *[episode(r, "0") for r in ROLLOUTS[:3]])
    assert take(groups, episode("r3", "0", status="unset", closed_by="idle")) is None
    credits = final(groups, episode("r3", "4", version=9))  # it was only silent for long
    assert credits.mean == 1.0
    assert [m.status for m in credits.members] == ["used"] * 4


def test_an_attempt_that_ended_well_or_by_its_agent_is_a_result() -> None:
    groups = groups_of()
    crashed = episode("r0", "0", status="error", signals={"exceptions": 1})
    went_on = episode("r1", "1", status="ok", signals={"worker_died": 1})
    credits = final(groups, crashed, went_on, *[episode(r, "1") for r in ROLLOUTS[2:]])
    assert [m.status for m in credits.members] == ["used"] * 4


def test_calls_that_may_not_be_trained_are_listed_with_their_reason() -> None:
    calls = [
        call("s0"),
        call("s1", trainable=False, untrainable_reason="off_support"),
        call("s2", policy="other"),
        call("s3", agent="critic"),
        call("s4", trainable=False),
    ]
    roles, _ = roles_of(("p",), AgentsSettings(entries={"solver": "p", "*": "untrained"}))
    method = CreditMethod(call_name="discounted(0.5)", roles=roles)
    results = dict(zip(ROLLOUTS, ["1", "0", "0", "0"], strict=True))
    credits = final(groups_of(method), *[episode(r, x, calls=calls) for r, x in results.items()])
    reasons = ["", "off_support", "other_policy", "not_selected", "untrainable"]
    assert [s.reason for s in credits.samples] == reasons * 4
    assert [s.trainable for s in credits.samples] == [not reason for reason in reasons] * 4
    # Its turn in the episode decides a call's weight, whoever else called.
    assert credits.samples[0].advantage == credits.members[0].advantage / 16
    assert not any(s.advantage for s in credits.samples if not s.trainable)


def test_long_episodes_weigh_no_more_in_the_group_s_statistics() -> None:
    lengths = [1, 1, 1, 9]
    episodes = [
        episode(r, str(i), calls=[call(f"s{k}") for k in range(n)])
        for i, (r, n) in enumerate(zip(ROLLOUTS, lengths, strict=True))
    ]
    credits = final(groups_of(), *episodes)
    assert credits.mean == 1.5
    assert [m.calls for m in credits.members] == lengths


def test_a_version_that_is_held_already_changes_nothing() -> None:
    groups = groups_of()
    first = final(groups, *[episode(r, str(i)) for i, r in enumerate(ROLLOUTS)])
    assert take(groups, episode("r0", "9"), episode("r1", "9", version=3)) is None
    assert groups.counters["duplicates"] == 2
    assert first.version == 20


def test_patience_names_the_setting_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="grace_ms"):
        GroupPatience(grace_ms=-1)
    with pytest.raises(ValueError, match="max_wait_ms"):
        GroupPatience(max_wait_ms=0)


def test_rewards_of_calls_reach_their_samples_and_sum_to_the_member_s() -> None:
    calls = [call(), call("s1")]
    members = [episode(f"r{i}", str(i % 2), calls=calls) for i in range(4)]
    credits = take(groups_of(), *members)
    assert credits is not None
    assert [one.reward for one in credits.samples] == [0.0, 0.0, 0.0, 1.0] * 2
