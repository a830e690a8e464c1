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


def _tell_nothing(rewards: Array) -> bool:
    return len(rewards) < 2 or bool(rewards.min() == rewards.max())


def grpo(rewards: Array) -> Array:
    """(R - mean) / (sample std + 1e-6) (arXiv 2402.03300; a singleton gives 0)."""
    if _tell_nothing(rewards):
        return np.zeros(len(rewards))
    centred = rewards - rewards.mean()
    advantages: Array = centred / (rewards.std(ddof=1) + GRPO_EPS)
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


def leave_one_out(rewards: Array) -> Array:
    """RLOO divided by the sample std of the *other* rewards + 1e-6, so that an episode takes part
    in neither of its own statistics; where the others agree, undivided.
    """
    if _tell_nothing(rewards):
        return np.zeros(len(rewards))
    advantages = rloo(rewards)
    for i in range(len(rewards)):
        others = np.delete(rewards, i)
        if not _tell_nothing(others):
            advantages[i] /= others.std(ddof=1) + GRPO_EPS
    return advantages


def none(rewards: Array) -> Array:
    """The reward itself: for a trainer that has its own baseline (REINFORCE++, a critic)."""
    return rewards.copy()
