"""Trajectory → call: the known answers of each method, and what holds of all of them."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.streams.credit.call import Array, CreditedEpisode, CreditedGroup
from headrace.streams.credit.call.rewards import call_rewards, returns_to_go, shaped, turn_gae
from headrace.streams.credit.members import MemberCall
from headrace.streams.credit.registry import BASELINES, CALL_METHODS

METHODS = ["uniform", *(f"{name}" for name in CALL_METHODS.made if name != "discounted")]
METHODS.append("discounted(0.9)")


def call(
    reward: float | None = None, observed: str | float = "", agent: str = "solver"
) -> MemberCall:
    return MemberCall(
        sample_id="s", agent=agent, reason="", version_min=0, version_max=0, tokens=3,
        reward=reward, observed=str(observed),
    )  # fmt: skip


def group_of(
    *episodes: tuple[float, Sequence[MemberCall]], baseline: str = "dr_grpo"
) -> CreditedGroup:
    advantages = BASELINES.named(baseline)(np.array([reward for reward, _ in episodes], float))
    return CreditedGroup(
        episodes=tuple(
            CreditedEpisode(reward=reward, advantage=advantage, calls=tuple(calls))
            for (reward, calls), advantage in zip(episodes, advantages.tolist(), strict=True)
        ),
        baseline=BASELINES.named(baseline),
    )


def credited(text: str, group: CreditedGroup) -> list[list[float]]:
    found = CALL_METHODS.named(text).advantages(group)
    return [[round(each, 7) for each in of_calls.tolist()] for of_calls in found]


def test_gae_over_turns_gives_its_known_answer() -> None:
    rewards, values = np.array([0.0, 0, 1]), np.array([0.2, 0.4, 0.6])
    np.testing.assert_allclose(turn_gae(rewards, values, 0.99, 0.9), [0.6864064, 0.5504, 0.4])
    calls = [call(observed=value) for value in values]
    assert credited("turn_gae(0.99,0.9)", group_of((1, calls), (0, calls)))[0] == [
        *(0.6864064, 0.5504, 0.4)
    ]


def test_gae_without_a_value_of_every_call_is_uniform() -> None:
    group = group_of((1, [call(observed=0.2), call()]), (0, [call(observed=0.1)]))
    assert credited("turn_gae", group) == [[0.5, 0.5], [-0.1]]


def test_groups_of_a_turn_give_their_known_answer() -> None:
    # Turn rewards 1, 0, 1, 0; outcomes 1, 1, 0, 0.
    episodes = [
        (outcome, [call(turn), call()]) for outcome, turn in [(1, 1), (1, 0), (0, 1), (0, 0)]
    ]
    assert credited("turn_groups(1)", group_of(*episodes, baseline="grpo")) == [
        [1.7320478, 0.8660239],
        [0.0, 0.8660239],
        [0.0, -0.8660239],
        [-1.7320478, -0.8660239],
    ]
    halved = credited("turn_groups(0.5)", group_of(*episodes, baseline="grpo"))
    assert halved[0] == [1.2990359, 0.8660239]


def test_a_turn_without_a_reward_of_its_own_is_not_a_turn_of_reward_0() -> None:
    group = group_of((1, [call(1), call()]), (0, [call(None), call()]), (0, [call(0), call()]))
    # 1 and 0 are compared with each other: ±0.5 beside the episode's own.
    third = 1 / 3
    assert credited("turn_groups", group) == [
        [round(0.5 + 2 * third, 7), round(2 * third, 7)],
        [-0.3333333, -0.3333333],
        [round(-0.5 - third, 7), -0.3333333],
    ]


def test_turns_are_those_of_one_agent() -> None:
    one = [call(0, agent="writer"), call(1, agent="judge"), call(agent="writer")]
    two = [call(0, agent="judge"), call(1, agent="writer"), call(agent="writer")]
    # The judges' 1 and 0, the writers' 0 and 1.
    assert credited("turn_groups", group_of((0, one), (0, two))) == [
        [-0.5, 0.5, 0.0],
        [-0.5, 0.5, 0.0],
    ]


def test_calls_in_one_state_are_compared_beside_their_episodes() -> None:
    group = group_of((1, [call(observed="a"), call(observed="b")]), (0, [call(observed="a")]))
    # A = ±0.5; in state a the returns are 0.95·1 and 0, ±0.475.
    assert credited("gigpo(0.95,1)", group) == [[0.975, 0.5], [-0.975]]
    assert credited("gigpo(0.95,0)", group) == [[0.5, 0.5], [-0.5]]


def test_states_that_nobody_knows_are_not_one_state() -> None:
    group = group_of((1, [call(), call()]), (0, [call()]))
    assert credited("gigpo", group) == [[0.5, 0.5], [-0.5]]


def test_an_episode_that_comes_back_to_a_state_is_compared_with_itself() -> None:
    group = group_of((1, [call(observed="a"), call(observed="a")]), (1, [call(observed="b")]))
    assert credited("gigpo(0.5)", group) == [[-0.25, 0.25], [0.0]]


def test_returns_from_a_call_on_are_compared_turn_by_turn() -> None:
    # Returns: 3, 2 and 1, 1 and, of one call, 0.
    group = group_of((3, [call(1), call()]), (1, [call(0), call()]), (0, [call()]))
    third = 4 / 3
    assert credited("to_go", group) == [
        [round(3 - third, 7), 0.5],
        [round(1 - third, 7), -0.5],
        [round(-third, 7)],
    ]


def test_where_no_other_got_so_far_the_episode_speaks_for_the_call() -> None:
    group = group_of((1, [call(), call(), call()]), (0, [call()]))
    assert credited("to_go", group) == [[0.5, 0.5, 0.5], [-0.5]]


def test_a_call_is_paid_for_the_progress_it_made() -> None:
    # Progress told after each call: 0.8 and 0.2 after the first.
    group = group_of((1, [call(observed=0.8), call()]), (0, [call(observed=0.2), call()]))
    # Returns of shaped rewards: 1 and 1 - 0.8; 0 and 0 - 0.2.
    assert credited("potential", group) == [[0.5, 0.2], [-0.5, -0.2]]


def test_a_potential_holds_until_the_next_is_told() -> None:
    group = group_of(
        (1, [call(observed=0.5), call(), call()]), (1, [call(observed=0.5), call(), call()])
    )
    assert credited("potential", group) == [[0.0] * 3, [0.0] * 3]
    one = group_of((1, [call(observed=0.5), call(), call()]), (0, [call(), call(), call()]))
    # 1, 0.5, 0.5 against 0, 0, 0.
    assert credited("potential", one) == [[0.5, 0.25, 0.25], [-0.5, -0.25, -0.25]]


@pytest.mark.parametrize(
    ("reward", "advantages"),
    [
        # Weights 1, 0.5, 1 of praise and 0.5, 1, 0.5 of blame; their mean is taken off.
        (1.0, [0.6, 0.3, 0.6]),
        (0.0, [-0.375, -0.75, -0.375]),
    ],
)
def test_a_call_whose_tool_failed_gets_less_praise_and_more_blame(
    reward: float, advantages: list[float]
) -> None:
    calls = [call(observed="fine"), call(observed="failed"), call()]
    group = group_of((reward, calls), (1 - reward, [call()]))
    assert credited("tool_outcome(0.5)", group)[0] == advantages


def test_a_call_is_measured_by_replays_of_it_and_a_lone_one_by_its_episode() -> None:
    # All three begin alike; the second calls of two were asked the same, that of the third not.
    group = group_of(
        (1.0, [call(observed="q"), call(observed="q, look")]),
        (0.0, [call(observed="q"), call(observed="q, look")]),
        (0.5, [call(observed="q"), call(observed="q, guess")]),
        baseline="rloo",
    )
    assert credited("counterfactual", group) == [[0.75, 1.0], [-0.75, -1.0], [0.0, 0.0]]


def test_replays_are_compared_by_what_came_after_the_call() -> None:
    # 1 of each return was earned before the second call, which earned 1 and 0.
    earned = group_of(
        (2.0, [call(1.0, "q"), call(1.0, "q, look")]), (1.0, [call(1.0, "q"), call(0.0, "q, look")])
    )
    assert credited("counterfactual", earned) == [[0.5, 0.5], [-0.5, -0.5]]
    assert credited("counterfactual(0.5)", earned) == [[0.25, 0.5], [-0.25, -0.5]]


REWARDS = st.one_of(st.none(), st.floats(-100, 100))
CALLS = st.lists(
    st.builds(
        call,
        REWARDS,
        st.sampled_from(["", "0.5", "-1.0", "2.25"]),
        st.sampled_from(["solver", "judge"]),
    ),
    max_size=6,
)
GROUPS = st.lists(st.tuples(st.floats(-100, 100), CALLS), min_size=1, max_size=5)


@given(reward=st.floats(-1e6, 1e6), calls=CALLS.filter(bool))
def test_the_rewards_of_calls_sum_to_the_episode_s(reward: float, calls: list[MemberCall]) -> None:
    episode = CreditedEpisode(reward=reward, advantage=0.0, calls=tuple(calls))
    assert call_rewards(episode).sum() == pytest.approx(reward, rel=1e-9, abs=1e-6)


@given(
    rewards=st.lists(st.floats(-100, 100), min_size=1, max_size=8).map(np.array),
    gamma=st.floats(0.1, 1),
    data=st.data(),
)
def test_potentials_change_the_return_by_that_of_the_beginning_alone(
    rewards: Array, gamma: float, data: st.DataObject
) -> None:
    size = len(rewards)
    potentials = np.array(data.draw(st.lists(st.floats(-9, 9), min_size=size, max_size=size)))
    changed = returns_to_go(shaped(rewards, potentials, gamma), gamma)[0]
    before = returns_to_go(rewards, gamma)[0]
    assert changed == pytest.approx(before - potentials[0], abs=1e-6)


@pytest.mark.parametrize("text", METHODS)
@pytest.mark.parametrize("baseline", [*BASELINES.plain])
@given(episodes=GROUPS)
def test_every_method_gives_every_call_a_finite_advantage(
    text: str, baseline: str, episodes: list[tuple[float, list[MemberCall]]]
) -> None:
    group = group_of(*episodes, baseline=baseline)
    found = CALL_METHODS.named(text).advantages(group)
    assert [len(each) for each in found] == [len(calls) for _, calls in episodes]
    assert all(np.isfinite(each).all() for each in found)


@pytest.mark.parametrize(
    "text", ["uniform", "tool_outcome", "gigpo", "turn_groups", "to_go", "counterfactual"]
)
@given(reward=st.floats(-5, 5), calls=st.integers(1, 4), size=st.integers(2, 5))
def test_a_group_of_equals_tells_nothing_of_any_call(
    text: str, reward: float, calls: int, size: int
) -> None:
    same = [(reward, [call(observed=f"s{k}") for k in range(calls)])] * size
    assert not any(np.any(each) for each in credited(text, group_of(*same)))


def test_a_method_is_written_with_its_numbers_in_order_or_by_name() -> None:
    assert CALL_METHODS.named("gigpo").name == "gigpo(0.95,1)"
    assert CALL_METHODS.named("gigpo(0.9)").name == "gigpo(0.9,1)"
    assert CALL_METHODS.named("gigpo(0.9, omega=0.5)").name == "gigpo(0.9,0.5)"
