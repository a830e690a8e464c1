"""Errors of rewards.

RewardError
└── RuleNotFound           the text names no rule, or more than one
"""


class RewardError(ValueError):
    """A rule that cannot be used as one."""


class RuleNotFound(RewardError):
    """A rule was asked for that cannot be loaded."""
