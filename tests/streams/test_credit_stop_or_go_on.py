"""Why the order is so: "stop now" against "go on" (rule: baseline before weights).

Stopping is one call with R = 0.6, going on two calls with R = 1. A policy of one decision is
trained by the gradient of A·log π; going on is better, and only the full return finds it out.
"""

from collections.abc import Callable

import numpy as np
import pytest

from headrace.streams.credit.baseline import grpo
from headrace.streams.credit.call import Array, CreditedEpisode, CreditedGroup
from headrace.streams.credit.call.rewards import evenly
from headrace.streams.credit.members import MemberCall
from headrace.streams.credit.registry import CALL_METHODS

CALL = MemberCall(sample_id="s", agent="a", reason="", version_min=0, version_max=0, tokens=7)
GROUP, STEPS, SEEDS, RATE = 8, 400, 20, 0.1

Credit = Callable[[Array, Array], Array]
"""Returns and numbers of calls of a group's episodes to the advantage of each first call."""


def full_return(returns: Array, calls: Array) -> Array:
    episodes = [
        CreditedEpisode(reward=r, advantage=a, calls=(CALL,) * int(k))
        for r, a, k in zip(returns, grpo(returns), calls, strict=True)
    ]
    group = CreditedGroup(episodes=tuple(episodes), baseline=grpo)
    spread = CALL_METHODS.named("uniform").advantages(group)
    return np.array([each[0] for each in spread])


def baseline_then_share(returns: Array, calls: Array) -> Array:
    advantages: Array = grpo(returns) / calls
    return advantages


def share_then_grpo(returns: Array, calls: Array) -> Array:
    rows = np.concatenate([evenly(r, int(k)) for r, k in zip(returns, calls, strict=True)])
    firsts = np.cumsum(calls) - calls
    advantages: Array = grpo(rows)[firsts.astype(int)]
    return advantages


def chance_of_going_on(credit: Credit, seed: int) -> float:
    random = np.random.default_rng(seed)
    logit = 0.0
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-logit))
        on = random.random(GROUP) < chance
        advantages = credit(np.where(on, 1.0, 0.6), np.where(on, 2.0, 1.0))
        logit += RATE * float((advantages * (on - chance)).mean())
    return float(1 / (1 + np.exp(-logit)))


@pytest.mark.parametrize(
    ("credit", "low", "high"),
    [(full_return, 0.95, 1.0), (baseline_then_share, 0.95, 1.0), (share_then_grpo, 0.0, 0.05)],
)
def test_only_a_baseline_of_the_whole_return_learns_to_go_on(
    credit: Credit, low: float, high: float
) -> None:
    mean = np.mean([chance_of_going_on(credit, seed) for seed in range(SEEDS)])
    assert low <= mean <= high
