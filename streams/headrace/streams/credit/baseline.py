"""Stage 2, group baseline: an advantage per episode from the rewards of its group.

Statistics are over episodes: each takes part once, however many calls or rows it made.
Equal rewards give exactly 0, and a single episode is never its own measure of success.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Baseline = Callable[[Array], Array]
"""Rewards of a group's episodes, float64 [n], to their advantages, float64 [n]."""

GRPO_EPS = 1e-6
LEAST_DEVIATION = 1e-3
"""Of the largest absolute reward of a group: a smaller deviation is noise and divides as this does,
so that rewards 0.5, 0.50001 are not separated as 0 and 1 would be."""
AGREEING = 0.1
"""Of the range of a group's rewards: others that deviate by less agree with each other."""


def _tell_nothing(rewards: Array) -> bool:
    return len(rewards) < 2 or bool(rewards.min() == rewards.max())


def _deviation(rewards: Array) -> float:
    least = LEAST_DEVIATION * float(np.abs(rewards).max())
    return max(float(rewards.std(ddof=1)), least) + GRPO_EPS


def grpo(rewards: Array) -> Array:
    """(R - mean) / (sample std + 1e-6) (arXiv 2402.03300; a singleton gives 0), the std at least a
    thousandth of the largest |R|."""
    if _tell_nothing(rewards):
        return np.zeros(len(rewards))
    centred = rewards - rewards.mean()
    advantages: Array = centred / _deviation(rewards)
    return advantages


def dr_grpo(rewards: Array) -> Array:
    """R - mean, no division by the deviation (arXiv 2503.20783; a singleton gives 0)."""
    if _tell_nothing(rewards):
        return np.zeros(len(rewards))
    centred: Array = rewards - rewards.mean()
    return centred


def rloo(rewards: Array) -> Array:
    """R minus the mean of the others (arXiv 2402.14740; a singleton gives 0)."""
    if _tell_nothing(rewards):
        return np.zeros(len(rewards))
    n = len(rewards)
    advantages: Array = n / (n - 1) * (rewards - rewards.mean())
    return advantages


def rloo_std(rewards: Array) -> Array:
    """RLOO divided as GRPO divides: for an incomplete group where complete ones take `grpo`."""
    if _tell_nothing(rewards):
        return np.zeros(len(rewards))
    return rloo(rewards) / _deviation(rewards)


def leave_one_out(rewards: Array) -> Array:
    """RLOO divided by the sample std of the *other* rewards + 1e-6, so that an episode takes part
    in neither of its own statistics; undivided where the others agree: where they deviate by less
    than a tenth of the group's range.
    """
    if _tell_nothing(rewards):
        return np.zeros(len(rewards))
    advantages = rloo(rewards)
    least = AGREEING * float(np.ptp(rewards))
    for i in range(len(rewards)):
        others = np.delete(rewards, i)
        deviation = float(others.std(ddof=1)) if len(others) > 1 else 0.0
        if deviation >= least:
            advantages[i] /= deviation + GRPO_EPS
    return advantages


def none(rewards: Array) -> Array:
    """The reward itself: for a trainer that has its own baseline (REINFORCE++, a critic), to which
    a group of equal rewards, or of one, says as much as any other."""
    return rewards.copy()
