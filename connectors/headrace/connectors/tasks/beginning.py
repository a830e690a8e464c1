"""From where in the log a task source reads tasks and outcomes. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

BACK_MS = 3_600_000
"""Deadlines reach so far at least: another source may have given a longer one than ours."""
SKEW_MS = 600_000
"""How far the clocks of brokers may be apart."""


class Beginning(NamedTuple):
    """What was written before `log_time` (milliseconds) is not read; what was trained in a step to
    `version` or an earlier one does not count."""

    log_time: int
    version: int


def beginning(
    published: Mapping[int, int], *, max_staleness: int, deadline_s: float
) -> Beginning | None:
    """Where to begin so that every rollout without an outcome is known; None: at the log's start.

    Let n be the newest version. Where each version is made from the one before, what had ended
    when version n - η - 1 was published was too old for a step when n was: the trainer has let
    it go. So tasks matter whose deadlines came later. Without deadlines, or with fewer
    versions, nothing says what is over.

    Args:
        published: version -> its log time in milliseconds.
        max_staleness: η.
        deadline_s: seconds that a rollout may take; 0: no deadline.
    """
    numbers = sorted(published)
    if deadline_s == 0 or len(numbers) < max_staleness + 2:
        return None
    ended = published[numbers[-max_staleness - 2]]
    since = ended - max(BACK_MS, int(2000 * deadline_s))
    before = [number for number in numbers if published[number] <= since]
    return Beginning(since - SKEW_MS, before[-1]) if before else None
