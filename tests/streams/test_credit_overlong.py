"""Long calls cost, before the baseline (DAPO)."""

import os

import pytest

from headrace.connectors.settings import BadSettings, from_environment
from headrace.streams.credit import CreditMethod
from headrace.streams.credit.config import CreditSettings
from headrace.streams.credit.overlong import Overlong
from tests.streams.test_group_settle import call, episode, groups_of, take


@pytest.mark.parametrize(
    ("sampled", "penalty"), [(16_384, 0.0), (18_432, -0.5), (20_480, -1.0), (20_481, -1.0)]
)
def test_the_penalty_has_the_paper_s_values(sampled: int, penalty: float) -> None:
    assert Overlong(tokens=20_480, buffer=4_096).penalty(sampled) == penalty


def test_without_a_bound_no_length_costs() -> None:
    assert Overlong().penalty(1_000_000) == 0.0


def test_the_longest_call_costs_the_episode_and_the_baseline_sees_it() -> None:
    method = CreditMethod(baseline_name="dr_grpo", overlong=Overlong(tokens=100, buffer=50))
    calls = [call(completion_tokens=20), call("s1", completion_tokens=75)]
    credits = take(
        groups_of(method), episode("r0", calls=calls), *(episode(f"r{i}") for i in (1, 2, 3))
    )
    assert credits is not None
    assert [one.advantage for one in credits.members] == [-0.375, 0.125, 0.125, 0.125]
    assert [one.reward for one in credits.members] == [1.0] * 4  # as it was given
    assert credits.credit == "uniform/dr_grpo+overlong(100,50)/uniform@3"


def test_equal_rewards_and_a_group_of_one_are_trained_where_the_trainer_has_the_baseline() -> None:
    credits = take(
        groups_of(CreditMethod(baseline_name="none")), *(episode(f"r{i}", "0") for i in range(4))
    )
    assert credits is not None
    assert (credits.outcome, credits.baseline) == ("train", "none")
    alone = episode("r0", "1", group_size=1, group_rollouts=["r0"])
    one = take(groups_of(CreditMethod(baseline_name="none")), alone)
    assert one is not None
    assert (one.outcome, one.samples[0].advantage) == ("train", 1.0)


def test_it_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CREDIT_OVERLONG_TOKENS", "100")
    config = from_environment(CreditSettings, "credit", os.environ)
    assert config.method.overlong == Overlong(tokens=100, buffer=20)
    monkeypatch.setenv("HEADRACE_CREDIT_OVERLONG_BUFFER", "101")
    with pytest.raises(BadSettings, match="at most overlong_tokens, 100"):
        from_environment(CreditSettings, "credit", os.environ)
