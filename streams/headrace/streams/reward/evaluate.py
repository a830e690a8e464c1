"""A rule applied to an Episode, whatever the rule does."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

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

    An empty reason with no value means: not known yet. `detail` is for a person. `dimensions` are
    the named values of which the reward was weighed, by name; none where the rule gave one number.
    `calls`: the rewards of the calls, in their order; none where the rule failed.
    """

    value: float | None = None
    reason: str = ""
    detail: str = ""
    dimensions: tuple[tuple[str, float], ...] = ()
    calls: tuple[float | None, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether a later span may still bring the reward."""
        return self.value is None and not self.reason


def evaluate(rule: Rule, episode: Episode) -> RewardResult:
    """Ask the rule; never raises.

    Reasons: `rule_error` where it raised, `reward_invalid` where it gave what is no finite number
    below 1e30 (of the episode or of a call), or a dimension without a weight. Neither is ever a
    reward of 0. Where a dimension is None or has not come, the reward is not known yet.
    """
    try:
        given = rule(episode)
        if isinstance(given, Mapping):
            given = dict(given)  # a mapping of the user's own may raise as well
        of_calls = list(rule.of_calls(episode))
    # A rule is a user's code: not even its sys.exit() may stop the worker.
    except (Exception, SystemExit) as error:
        logger.warning(
            "rule %s failed on episode %s/%s", rule.id, episode.rollout_id, episode.attempt,
            exc_info=True,
        )  # fmt: skip
        return RewardResult(
            reason=MemberStatus.RULE_ERROR, detail=_short(f"{type(error).__name__}: {error}")
        )
    calls, wrong = _rewards_of_calls(of_calls, len(episode.calls))
    if wrong:
        return _invalid(wrong)
    if given is None:
        return RewardResult(calls=calls)
    if isinstance(given, dict):
        return replace(_weighed(rule, given), calls=calls)
    number, wrong = _number(given)
    return RewardResult(value=number, calls=calls) if not wrong else _invalid(wrong)


def _rewards_of_calls(given: list[Any], count: int) -> tuple[tuple[float | None, ...], str]:
    """The rewards of an episode's calls, and what is wrong with them, or ''."""
    if len(given) != count:
        return (), f"{len(given)} rewards for {count} calls"
    if given.count(None) == count:
        return tuple(given), ""
    found: list[float | None] = []
    for number, value in enumerate(given, start=1):
        if value is None:
            found.append(None)
            continue
        reward, wrong = _number(value)
        if wrong:
            return (), f"call {number}: {wrong}"
        found.append(reward)
    return tuple(found), ""


def _weighed(rule: Rule, given: Mapping[Any, Any]) -> RewardResult:
    weights = rule.weights or dict.fromkeys(given, 1.0)
    if strange := sorted(str(name) for name in given if name not in weights):
        return _invalid(f"{', '.join(strange)}: rule {rule.id} has no weight for it")
    values: dict[str, float] = {}
    awaited = not weights
    for name in weights:
        if given.get(name) is None:
            awaited = True
            continue
        values[str(name)], wrong = _number(given[name])
        if wrong:
            return _invalid(f"{name}: {wrong}")
    if awaited:
        return RewardResult(dimensions=tuple(values.items()))
    value, wrong = _number(sum(weights[name] * values[str(name)] for name in weights))
    if wrong:
        return _invalid(wrong)
    return RewardResult(value=value, dimensions=tuple(values.items()))


def _invalid(why: str) -> RewardResult:
    return RewardResult(reason=MemberStatus.REWARD_INVALID, detail=_short(why))


def _number(value: Any) -> tuple[float, str]:
    """A value as a number, and what is wrong with it as a reward, or ''."""
    if not isinstance(value, Real | np.bool_):
        return math.nan, f"a {type(value).__name__} is no number"
    try:
        number = float(value)
    except OverflowError:  # an int beyond float64
        number = math.inf
    fine = math.isfinite(number) and abs(number) < LIMIT
    return number, "" if fine else str(number)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
