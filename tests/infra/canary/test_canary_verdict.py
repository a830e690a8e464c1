"""The verdict: rarely wrong on an equal version, however often one looks."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.canary.evidence import ALONE, NEIGHBOURS, Rollouts, compared
from headrace.infra.canary.verdict import Finding, Rules, judged, log_stake

GROUP = 8


def traffic(
    rng: np.random.Generator, groups: int, share: float, stable: float, canary: float
) -> Rollouts:
    """Groups of 8 rollouts of tasks of different difficulty; rewards 0 or 1 with these means."""
    drawn = rng.random((groups, GROUP)) < share
    task = rng.beta(2, 2, size=(groups, 1)) * 2  # mean 1: scales both versions alike
    chance = np.clip(task * np.where(drawn, canary, stable), 0, 1)
    return Rollouts(
        group=np.repeat(np.arange(groups), GROUP),
        canary=drawn.ravel(),
        reward=(rng.random((groups, GROUP)) < chance).astype(np.float64).ravel(),
    )


def first(rollouts: Rollouts, n: int) -> Rollouts:
    """The first n of them."""
    return Rollouts(
        group=rollouts.group[:n], canary=rollouts.canary[:n], reward=rollouts.reward[:n]
    )


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
            group=np.concatenate([easy.group, hard.group + 40]),
            canary=np.concatenate([easy.canary, hard.canary]),
            reward=np.concatenate([easy.reward, hard.reward]),
        )
        alarms += ever_worse(both, error)
    assert alarms / runs <= error


@pytest.mark.parametrize(("canary", "caught"), [(0.0, 0.99), (0.2, 0.8), (0.7, 0.0)])
def test_how_often_a_worse_version_is_caught(canary: float, caught: float) -> None:
    rng = np.random.default_rng(13)
    rules = Rules(error=0.01, comparisons=40)
    found = [judged(traffic(rng, 80, 0.2, 0.6, canary), rules).finding for _ in range(200)]
    assert np.mean([one == Finding.WORSE for one in found]) >= caught
    if canary > 0.6:
        assert set(found) == {Finding.PASSED}


columns = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 0.5, 1.0, float("nan")])),
    max_size=40,
)


def of(rows: list[tuple[int, bool, float]]) -> Rollouts:
    return Rollouts(
        group=np.array([row[0] for row in rows], dtype=np.int64),
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


def alone(canary: list[bool], reward: list[float]) -> Rollouts:
    group: npt.NDArray[np.int64] = np.full(len(canary), ALONE, dtype=np.int64)
    return Rollouts(group=group, canary=np.array(canary), reward=np.array(reward))


def test_ordinary_traffic_is_compared_with_its_neighbours() -> None:
    canary = [True] + [False] * (NEIGHBOURS - 1) + [True] + [False] * (NEIGHBOURS - 1)
    reward = [0.0] + [1.0] * (NEIGHBOURS - 1) + [1.0] + [1.0] * (NEIGHBOURS - 1)
    assert compared(alone(canary, reward)).losses.tolist() == [0.5, 0.0]
    # Feedback that comes late joins its own neighbours and moves nobody else's.
    late = [*reward[:3], float("nan"), *reward[4:]]
    assert compared(alone(canary, late)).losses.tolist() == [0.5, 0.0]


def test_nothing_to_compare_is_open() -> None:
    verdict = judged(alone([False] * 5, [1.0] * 5), Rules())
    assert (verdict.finding, verdict.comparisons, verdict.p_value) == (Finding.OPEN, 0, 1.0)
    assert judged(alone([], []), Rules()).finding == Finding.OPEN


@pytest.mark.parametrize(("error", "comparisons"), [(0.0, 1), (1.0, 1), (0.1, 0)])
def test_rules_that_cannot_be_are_refused(error: float, comparisons: int) -> None:
    with pytest.raises(ValueError, match="give"):
        Rules(error=error, comparisons=comparisons)
