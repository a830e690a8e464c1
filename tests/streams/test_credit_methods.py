"""The three stages' mathematics: known answers, conservation, and statistics over episodes."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headrace.connectors.engines.roles import AgentsSettings, roles_of
from headrace.streams.credit.baseline import grpo
from headrace.streams.credit.call import Array, CreditedEpisode, CreditedGroup
from headrace.streams.credit.call.rewards import at_last, evenly, returns_to_go, weighted
from headrace.streams.credit.errors import UnknownMethod
from headrace.streams.credit.members import MemberCall
from headrace.streams.credit.method import CreditMethod
from headrace.streams.credit.registry import BASELINES, CALL_METHODS, TOKEN_METHODS

REWARDS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=16).map(np.array)
RELATIVE = sorted(set(BASELINES.plain) - {"none"})
CALL = MemberCall(sample_id="s", agent="a", reason="", version_min=0, version_max=0, tokens=7)


def spread(text: str, advantage: float, calls: int) -> Array:
    episode = CreditedEpisode(reward=1.0, advantage=advantage, calls=(CALL,) * calls)
    group = CreditedGroup(episodes=(episode,), baseline=grpo)
    (advantages,) = CALL_METHODS.named(text).advantages(group)
    return advantages


@pytest.mark.parametrize(
    ("name", "rewards", "advantages"),
    [
        ("grpo", [1, 0.5, 0, 0], [1.3055797, 0.2611159, -0.7833478, -0.7833478]),
        ("grpo", [1, 0, 0, 1], [0.8660239, -0.8660239, -0.8660239, 0.8660239]),
        ("dr_grpo", [1, 0.5, 0, 0], [0.625, 0.125, -0.375, -0.375]),
        ("rloo", [1, 0.5, 0, 0], [0.8333333, 0.1666667, -0.5, -0.5]),
        # 4/3 of GRPO's.
        ("rloo_std", [1, 0.5, 0, 0], [1.7407729, 0.3481546, -1.0444638, -1.0444638]),
        ("none", [1, 0.5, 0, 0], [1, 0.5, 0, 0]),
        # The others of the first: 0.5, 0, 0 with mean 1/6 and sample std 0.2886751.
        ("leave_one_out", [1, 0.5, 0, 0], [2.8867413, 0.2886746, -0.9999980, -0.9999980]),
        # The others of the first agree: their deviation of 0 divides nothing.
        ("leave_one_out", [1, 0, 0], [1, -0.7071058, -0.7071058]),
    ],
)
def test_baselines_give_their_known_answers(
    name: str, rewards: list[float], advantages: list[float]
) -> None:
    np.testing.assert_allclose(
        BASELINES.named(name)(np.array(rewards, float)), advantages, atol=5e-8
    )


@pytest.mark.parametrize("name", RELATIVE)
@pytest.mark.parametrize("rewards", [[0.7], [0.1, 0.1, 0.1], [-3.3] * 7])
def test_equal_rewards_and_singletons_tell_nothing(name: str, rewards: list[float]) -> None:
    assert not BASELINES.named(name)(np.array(rewards)).any()


def test_rewards_that_differ_in_the_last_digit_agree() -> None:
    """.1 + .2 is not .3: to divide by that difference gave an advantage of -300,000."""
    advantages = BASELINES.named("leave_one_out")(np.array([0, 0.3, 0.3, 0.1 + 0.2]))
    np.testing.assert_allclose(advantages, [-0.3, 0.5773483, 0.5773483, 0.5773483], atol=1e-5)


@given(
    rewards=st.lists(st.floats(-1, 1), min_size=2, max_size=16).map(np.array),
    scale=st.floats(1e-3, 1e3),
)
def test_no_advantage_is_larger_than_ten_ranges_can_make_it(rewards: Array, scale: float) -> None:
    advantages = BASELINES.named("leave_one_out")(rewards * scale)
    assert np.abs(advantages).max() <= max(20.0, 2 * float(np.ptp(rewards * scale)))


@pytest.mark.parametrize("name", ["grpo", "rloo_std"])
def test_noise_is_not_blown_up_to_a_difference(name: str) -> None:
    noisy = BASELINES.named(name)(np.array([0.5, 0.50001, 0.5, 0.5]))
    assert 0 < np.abs(noisy).max() < 0.03


@pytest.mark.parametrize("name", RELATIVE)
def test_an_episode_alone_is_never_its_own_measure(name: str) -> None:
    assert BASELINES.named(name)(np.array([1.0])).tolist() == [0.0]


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo", "leave_one_out"])
def test_an_incomplete_group_is_on_the_scale_of_the_complete_ones(name: str) -> None:
    """The winner of 7 of 8 is not worth less than half of the winner of 8 of 8."""
    method = CreditMethod(baseline_name=name)
    complete, incomplete = (
        method.baseline_of(complete=whole)[1](np.eye(1, size)[0])
        for whole, size in ((True, 8), (False, 7))
    )
    assert complete.max() == pytest.approx(incomplete.max(), rel=0.25)


def test_statistics_are_over_episodes_not_rows() -> None:
    rewards, rows = np.array([1.0, 0.0]), np.array([1, 3])
    by_row = np.repeat(rewards, rows)
    biased = (by_row - by_row.mean()) / (by_row.std(ddof=1) + 1e-6)
    np.testing.assert_allclose(biased, [1.5, -0.5, -0.5, -0.5], atol=1e-5)
    np.testing.assert_allclose(grpo(rewards), [0.7071058, -0.7071058], atol=5e-8)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo"])
@given(rewards=REWARDS)
def test_relative_advantages_sum_to_zero(name: str, rewards: Array) -> None:
    advantages = BASELINES.named(name)(rewards)
    assert abs(advantages.sum()) <= 1e-6 * (1 + np.abs(advantages).sum())


# Not leave_one_out: each is measured by the others' own deviation.
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo", "none"])
@given(rewards=REWARDS)
def test_a_better_reward_never_has_a_smaller_advantage_than_a_worse_one(
    name: str, rewards: Array
) -> None:
    order = np.argsort(rewards, kind="stable")
    assert (np.diff(BASELINES.named(name)(rewards)[order]) >= 0).all()


@given(rewards=REWARDS, shift=st.floats(-1e3, 1e3))
def test_a_constant_added_to_every_reward_changes_no_relative_advantage(
    rewards: Array, shift: float
) -> None:
    rewards = rewards.round(1)
    for name in ("dr_grpo", "rloo"):
        np.testing.assert_allclose(
            BASELINES.named(name)(rewards + shift), BASELINES.named(name)(rewards), atol=1e-6
        )


@given(
    reward=st.floats(-1e6, 1e6),
    weights=st.lists(st.floats(0, 1e3), min_size=1, max_size=20).map(np.array),
)
def test_decompositions_keep_the_sum(reward: float, weights: Array) -> None:
    assume(weights.sum() > 1e-3)
    calls = len(weights)
    for parts in (at_last(reward, calls), evenly(reward, calls), weighted(reward, weights)):
        assert parts.shape == (calls,)
        assert math.isclose(parts.sum(), reward, rel_tol=1e-9, abs_tol=1e-9)


def test_returns_to_go_are_discounted_turn_by_turn() -> None:
    np.testing.assert_allclose(returns_to_go(at_last(1.0, 3), 0.9), [0.81, 0.9, 1])
    np.testing.assert_allclose(returns_to_go(at_last(1.0, 3), 0.95), [0.9025, 0.95, 1])


@given(advantage=st.floats(-10, 10), calls=st.integers(0, 20), gamma=st.floats(0.1, 1))
def test_discounted_is_the_return_to_go_of_an_outcome_at_the_end(
    advantage: float, calls: int, gamma: float
) -> None:
    given_ = spread(f"discounted({gamma})", advantage, calls)
    np.testing.assert_allclose(given_, returns_to_go(at_last(advantage, calls), gamma), atol=1e-9)


def test_uniform_gives_every_call_the_whole_advantage() -> None:
    assert spread("uniform", 0.5, 3).tolist() == [0.5, 0.5, 0.5]
    assert TOKEN_METHODS.named("uniform").weights(CALL) is None


@pytest.mark.parametrize(
    "text",
    [
        *("unifrom", "discounted", "discounted(x)", "discounted(0)", "discounted(1.1)"),
        *("gigpo(0)", "gigpo(1,-1)", "gigpo(0.9,1,2)", "gigpo(alpha=1)", "turn_gae(0.9,2)"),
        *("tool_outcome(0)", "to_go(nan)", "turn_groups(-1)", "potential(2)", "gigpo(", "gigpo()"),
    ],
)
def test_an_unknown_call_method_is_refused(text: str) -> None:
    with pytest.raises(UnknownMethod):
        CALL_METHODS.named(text)


def test_a_credit_method_is_refused_at_start_up_and_named_by_its_stages() -> None:
    with pytest.raises(UnknownMethod, match="grpo, dr_grpo"):
        CreditMethod(baseline_name="gprs")
    with pytest.raises(UnknownMethod):
        CreditMethod(token_name="gae")
    assert CreditMethod().id == "uniform/grpo/uniform@3"
    roles, _ = roles_of(("p",), AgentsSettings(entries={"b": "p", "a": "frozen"}))
    assert CreditMethod(call_name="discounted(0.90)", roles=roles).id == (
        "discounted(0.9)/grpo/uniform[a=frozen(p),b=p]@3"
    )
