"""Is a canary worse? A test that may be looked at as often as one likes. Pure.

A bet against "the canary loses no more often than it wins": each comparison multiplies the stake by
1 + b·loss, b a fixed bet, which is 1 at most in the mean while that is true. The mean over several
bets is a non-negative supermartingale that begins at 1, so it ever reaches 1/error with a
probability of `error` at most, however often it is looked at and whatever tasks or users do (Ville
1939; mixtures: Robbins 1970; bounded means by betting: Waudby-Smith and Ramdas, JRSS B 86, 2024,
arXiv 2010.09686).
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from headrace.infra.canary.evidence import Rollouts, compared

BETS = np.array([0.2, 0.5, 0.9, 1.3, 1.7, 1.95])
"""Below 2, so that no single comparison loses the whole stake."""


class Finding(StrEnum):
    """What is known of a canary."""

    OPEN = "open"
    """Too few comparisons yet."""
    PASSED = "passed"
    """As many as were wanted, and it is not found worse."""
    WORSE = "worse"


@dataclass(kw_only=True, slots=True, frozen=True)
class Rules:
    """How a canary is judged."""

    error: float = 0.01
    """Bound on the probability that a version that is not worse is ever found worse."""
    comparisons: int = 40
    """After so many comparisons a version that is not found worse has passed."""

    def __post_init__(self) -> None:
        if not 0 < self.error < 1:
            raise ValueError(f"error is {self.error:g}: give one between 0 and 1")
        if self.comparisons < 1:
            raise ValueError(f"comparisons is {self.comparisons}: give 1 at least")


@dataclass(kw_only=True, slots=True, frozen=True)
class Verdict:
    """What the comparisons say."""

    finding: Finding
    comparisons: int
    log_stake: float
    """Natural logarithm of what a stake of 1 has become."""
    canary_rollouts: int
    stable_rollouts: int
    canary_reward: float
    """Mean of those that were compared; NaN: none."""
    stable_reward: float

    @property
    def p_value(self) -> float:
        """Anytime-valid p-value of "the canary is not worse"."""
        return math.exp(min(0.0, -self.log_stake))


def judged(rollouts: Rollouts, rules: Rules) -> Verdict:
    """The verdict on a canary by all that is known now."""
    found = compared(rollouts)
    stake = log_stake(found.losses)
    if stake >= -math.log(rules.error):
        finding = Finding.WORSE
    elif len(found.losses) >= rules.comparisons:
        finding = Finding.PASSED
    else:
        finding = Finding.OPEN
    return Verdict(
        finding=finding,
        comparisons=len(found.losses),
        log_stake=stake,
        canary_rollouts=len(found.canary),
        stable_rollouts=len(found.stable),
        canary_reward=_mean(found.canary),
        stable_reward=_mean(found.stable),
    )


def log_stake(losses: npt.NDArray[np.float64]) -> float:
    """Logarithm of the mean over the bets of Π (1 + b·loss); losses [n], each -0.5 to 0.5."""
    each = np.log1p(np.outer(BETS, losses)).sum(axis=1)
    return float(np.logaddexp.reduce(each) - math.log(len(BETS)))


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan
