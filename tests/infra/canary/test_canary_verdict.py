"""The verdict: rarely wrong on an equal version, however often one looks."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.canary.evidence import Rollouts, compared
from headrace.infra.canary.verdict import Finding, Rules, judged, log_stake

GROUP = 8
SETTINGS = Path(__file__).parents[3] / "examples" / "drift" / "settings.toml"


def traffic(
    rng: np.random.Generator, groups: int, share: float, stable: float, canary: float
) -> Rollouts:
    """Groups of 8 rollouts of tasks of different difficulty; rewards 0 or 1 with these means."""
    drawn = rng.random((groups, GROUP)) < share
    task = rng.beta(2, 2, size=(groups, 1)) * 2  # mean 1: scales both versions alike
    chance = np.clip(task * np.where(drawn, canary, stable), 0, 1)
    return Rollouts(
        block=np.repeat(np.arange(groups), GROUP),
        settled=np.ones(groups * GROUP, dtype=np.bool_),
        canary=drawn.ravel(),
        reward=(rng.random((groups, GROUP)) < chance).astype(np.float64).ravel(),
    )


def first(rollouts: Rollouts, groups: int) -> Rollouts:
    """Those of the first groups."""
    here = rollouts.block < groups
    return Rollouts(
        block=rollouts.block[here],
        settled=rollouts.settled[here],
        canary=rollouts.canary[here],
        reward=rollouts.reward[here],
    )


def found_by_looking(rollouts: Rollouts, groups: int, rules: Rules) -> Finding:
    """What somebody finds who looks after each group, until it is decided."""
    for number in range(1, groups + 1):
        finding = judged(first(rollouts, number), rules).finding
        if finding != Finding.OPEN:
            return finding
    return Finding.OPEN


def ever_worse(rollouts: Rollouts, error: float) -> bool:
    """Whether somebody who looks after each comparison ever calls the canary worse."""
    losses = compared(rollouts).losses
    return any(log_stake(losses[:n]) >= -np.log(error) for n in range(1, len(losses) + 1))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_equal_versions_are_rarely_called_worse_by_one_who_always_looks(share: float) -> None:
    rng = np.random.default_rng(11)
    error, runs = 0.05, 1_000
    alarms = sum(ever_worse(traffic(rng, 100, share, 0.5, 0.5), error) for _ in range(runs))
    assert 0 < alarms / runs <= error  # above 0: the test could have failed


def test_a_change_of_the_tasks_is_no_alarm() -> None:
    rng = np.random.default_rng(12)
    error, runs, alarms = 0.05, 300, 0
    for _ in range(runs):
        easy, hard = traffic(rng, 40, 0.2, 0.9, 0.9), traffic(rng, 40, 0.2, 0.2, 0.2)
        both = Rollouts(
            block=np.concatenate([easy.block, hard.block + 40]),
            settled=np.concatenate([easy.settled, hard.settled]),
            canary=np.concatenate([easy.canary, hard.canary]),
            reward=np.concatenate([easy.reward, hard.reward]),
        )
        alarms += ever_worse(both, error)
    assert alarms / runs <= error


@pytest.mark.parametrize(("canary", "caught"), [(0.0, 1.0), (0.2, 0.95), (0.6, 0.0)])
def test_how_often_a_worse_version_is_caught(canary: float, caught: float) -> None:
    rng = np.random.default_rng(13)
    rules = Rules(error=0.01, comparisons=40)
    found = [found_by_looking(traffic(rng, 80, 0.2, 0.6, canary), 80, rules) for _ in range(100)]
    assert np.mean([one == Finding.WORSE for one in found]) >= caught
    if canary == 0.6:
        assert found.count(Finding.WORSE) <= 1


def test_the_drift_demo_gives_a_trial_enough_to_catch_its_bad_version() -> None:
    said = tomllib.loads(SETTINGS.read_text())["canary"]
    rules = Rules(error=said["error"], comparisons=said["comparisons"])
    rng, share = np.random.default_rng(14), said["share"]
    found = [found_by_looking(traffic(rng, 40, share, 0.8, 0.0), 40, rules) for _ in range(100)]
    assert found.count(Finding.WORSE) >= 99
    fair = [found_by_looking(traffic(rng, 40, share, 0.8, 0.8), 40, rules) for _ in range(100)]
    assert fair.count(Finding.WORSE) <= 12  # of 5 expected at most; 12 are 1 in 500


columns = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 0.5, 1.0, float("nan")])),
    max_size=40,
)


def of(rows: list[tuple[int, bool, float]]) -> Rollouts:
    return Rollouts(
        block=np.array([row[0] for row in rows], dtype=np.int64),
        settled=np.ones(len(rows), dtype=np.bool_),
        canary=np.array([row[1] for row in rows], dtype=np.bool_),
        reward=np.array([row[2] for row in rows], dtype=np.float64),
    )


@given(columns)
def test_any_scale_of_rewards_gives_the_same_comparisons(
    rows: list[tuple[int, bool, float]],
) -> None:
    losses = compared(of(rows)).losses
    scaled = compared(of([(g, c, 1_000 * r - 7) for g, c, r in rows])).losses
    assert np.array_equal(losses, scaled)
    assert np.all(np.abs(losses) <= 0.5)


@given(columns)
def test_what_the_canary_loses_the_other_wins(rows: list[tuple[int, bool, float]]) -> None:
    swapped = compared(of([(g, not c, r) for g, c, r in rows])).losses
    assert np.array_equal(compared(of(rows)).losses, -swapped)


@given(columns, st.randoms())
def test_the_order_of_groups_does_not_matter(
    rows: list[tuple[int, bool, float]], random: object
) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # random.Random
    stakes = [log_stake(compared(of(one)).losses) for one in (rows, shuffled)]
    assert stakes[0] == pytest.approx(stakes[1], abs=1e-9)


def test_a_block_counts_once_all_of_it_is_settled() -> None:
    def told(settled: bool, late: float) -> list[float]:
        rollouts = Rollouts(
            block=np.array([0, 0, 0, 1, 1]),
            settled=np.array([True, True, settled, True, True]),
            canary=np.array([True, False, False, True, False]),
            reward=np.array([0.0, 1.0, late, 1.0, 1.0]),
        )
        return [float(loss) for loss in compared(rollouts).losses]

    assert told(False, float("nan")) == told(False, 0.0) == [0.0], "the other block alone"
    assert told(True, 0.0) == [0.25, 0.0]
    assert told(True, float("nan")) == [0.5, 0.0], "it has no reward, and will have none"


def test_nothing_to_compare_is_open() -> None:
    verdict = judged(of([(0, False, 1.0)] * 5), Rules())
    assert (verdict.finding, verdict.comparisons, verdict.p_value) == (Finding.OPEN, 0, 1.0)
    assert judged(of([]), Rules()).finding == Finding.OPEN


@pytest.mark.parametrize(("error", "comparisons"), [(0.0, 1), (1.0, 1), (0.1, 0)])
def test_rules_that_cannot_be_are_refused(error: float, comparisons: int) -> None:
    with pytest.raises(ValueError, match="give"):
        Rules(error=error, comparisons=comparisons)
