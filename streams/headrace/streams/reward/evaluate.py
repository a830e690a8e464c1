"""A rule applied to an Episode, whatever the rule does."""

import logging
import math
from dataclasses import dataclass
from numbers import Real

import numpy as np

from headrace.schemas import Episode
from headrace.schemas.vocabulary import MemberStatus
from headrace.streams.reward.rule import Rule

logger = logging.getLogger(__name__)

LIMIT = 1e30
"""Rewards beyond it would overflow the trainer's float32."""

_SHOWN = 200


@dataclass(kw_only=True, slots=True, frozen=True)
class RewardResult:
    """What a rule said. `value` is None where there is none; `reason` then says why, in a word.

    An empty reason with no value means: not known yet. `detail` is for a person.
    """

    value: float | None = None
    reason: str = ""
    detail: str = ""

    @property
    def pending(self) -> bool:
        """Whether a later span may still bring the reward."""
        return self.value is None and not self.reason


def evaluate(rule: Rule, episode: Episode) -> RewardResult:
    """Ask the rule; never raises.

    Reasons: `rule_error` where it raised, `reward_invalid` where it gave what is no finite number
    below 1e30. Neither is ever a reward of 0.
    """
    try:
        value = rule(episode)
    # A rule is a user's code: not even its sys.exit() may stop the worker.
    except (Exception, SystemExit) as error:
        logger.warning(
            "rule %s failed on episode %s/%s", rule.id, episode.rollout_id, episode.attempt,
            exc_info=True,
        )  # fmt: skip
        return RewardResult(
            reason=MemberStatus.RULE_ERROR, detail=_short(f"{type(error).__name__}: {error}")
        )
    if value is None:
        return RewardResult()
    if not isinstance(value, Real | np.bool_):
        return RewardResult(
            reason=MemberStatus.REWARD_INVALID, detail=f"a {type(value).__name__} is no number"
        )
    number = _number(value)
    if not math.isfinite(number) or abs(number) >= LIMIT:
        return RewardResult(reason=MemberStatus.REWARD_INVALID, detail=str(number))
    return RewardResult(value=number)


def _number(value: Real | np.bool_) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond float64
        return math.inf


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
