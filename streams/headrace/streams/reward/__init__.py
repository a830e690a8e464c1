"""Rewards: rules over an Episode, awaited, present or absent, never 0 by mistake."""

from headrace.streams.reward.errors import RewardError, RuleNotFound
from headrace.streams.reward.evaluate import RewardResult, evaluate
from headrace.streams.reward.load import load_rule
from headrace.streams.reward.rule import Rule, RuleFunction, reward
from headrace.streams.reward.span_rule import span_rule
from headrace.streams.reward.targets import rewards_of_calls
from headrace.streams.reward.tools import tool_success

__all__ = [
    "RewardError",
    "RewardResult",
    "Rule",
    "RuleFunction",
    "RuleNotFound",
    "evaluate",
    "load_rule",
    "reward",
    "rewards_of_calls",
    "span_rule",
    "tool_success",
]
