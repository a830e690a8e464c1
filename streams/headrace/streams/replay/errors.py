"""Errors of replay.

ReplayError
├── ChangedRule        the rule's code is another than that of its stored results
└── NothingToReplay    the log holds no episode of the time that was asked for
"""


class ReplayError(Exception):
    """Root of the errors of replay."""


class ChangedRule(ReplayError):
    """A rule gave results under its id with other code."""


class NothingToReplay(ReplayError):
    """There is no episode to replay."""
