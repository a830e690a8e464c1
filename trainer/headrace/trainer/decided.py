"""Which groups have ended, and how much of that past is in memory. Pure.

A trainer remembers its decisions by log time. What is older than its memory is on
`headrace.outcomes`: `needs` names the span of log times that a record asks for, the shell reads
it, `restore` takes it in.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from headrace.schemas import Outcome
from headrace.schemas.vocabulary import SampleOutcome

GroupKey = tuple[str, str]
"""Project and group id."""

UNCOMMITTED = sys.maxsize
"""Log time of an outcome that is not in the log yet."""
SKEW_MS = 600_000
"""How far the clocks of brokers may be apart: an outcome's log time and that of the records it is
about may come from two of them."""
KEEP_MS = 3_600_000
"""What was decided this shortly before the newest decision is never evicted: records about it are
still being read."""
MOST = 200_000
"""Decisions in memory beyond which the older are evicted; one takes 380 bytes (tracemalloc,
CPython 3.11)."""


class Decision(NamedTuple):
    """How a group ended: the version of the Credits it was decided by."""

    credits_version: int
    trained: bool
    log_time: int = UNCOMMITTED
    """No outcome of the group is in the log later than this (milliseconds)."""


class Span(NamedTuple):
    """Log times [since, until) in milliseconds; without `until` up to the end of the log."""

    since: int
    until: int | None


class Decided(dict[GroupKey, Decision]):
    """The groups that have ended, in earlier lives of the trainer too.

    An outcome of a group is later in the log than the group's first Episode and than every sample
    it is about. So whoever holds all outcomes since then (less the brokers' skew) knows whether
    the group is decided, be it by a record that is read again or by a revision that comes days
    later.

    Of more than `most` decisions the older half is evicted, and needed again for a record that may
    be about them, as after a restart. What was restored so stays until as many groups have ended
    as were then in memory, so that late records cost few readings however many they are.

    Without `newest` it is complete: there is no past that it does not hold. With it (the log time
    of the last version, near which most of what is asked for lies) nothing is known yet.
    """

    def __init__(self, newest: int | None = None, *, most: int = MOST) -> None:
        super().__init__()
        self._newest = 0 if newest is None else newest
        self._most = most
        self._room = most
        # Decisions of this log time or later are all here …
        self._since = 0 if newest is None else newest + 1
        # … and those of this log time or later have never been evicted.
        self._until: int | None = None

    def needs(self, log_time: int) -> Span | None:
        """What to restore before a record of this log time (milliseconds) can be judged.

        As far again as it is back by now: many old groups in a row cost few readings.
        """
        wanted = max(0, log_time - SKEW_MS)
        if wanted >= self._since:
            return None
        back = max(SKEW_MS, self._newest - self._since)
        return Span(max(0, wanted - back), self._until)

    def restore(self, span: Span, decisions: Mapping[GroupKey, Decision]) -> None:
        """Take in all decisions whose outcomes are in a span that was needed."""
        for key, decision in decisions.items():
            self[key] = merged(self.get(key), decision)
        self._since = self._until = span.since
        self._room = max(self._most, 2 * len(self))

    def settle(self, groups: Iterable[GroupKey], log_time: int) -> None:
        """All outcomes of these groups are in the log, at `log_time` at the latest."""
        for key in groups:
            if (decision := self.get(key)) is not None:
                self[key] = decision._replace(log_time=log_time)

    def evict(self) -> None:
        """Let go of the older decisions where there are too many; the log has them."""
        if len(self) <= self._room:
            return
        times = sorted(one.log_time for one in self.values() if one.log_time != UNCOMMITTED)
        cut = min(times[len(times) // 2], times[-1] - KEEP_MS) if times else 0
        if cut > self._since:
            for key in [key for key, one in self.items() if one.log_time < cut]:
                del self[key]
            self._since = self._newest = cut
            self._until = cut + SKEW_MS  # log times may follow each other out of order
        self._room = max(self._most, len(self) + len(self) // 2)


def merged(known: Decision | None, other: Decision) -> Decision:
    """What two outcomes of a group say of it together, whatever their order."""
    if known is None:
        return other
    return Decision(
        max(known.credits_version, other.credits_version),
        known.trained or other.trained,
        max(known.log_time, other.log_time),
    )


def decision_of(outcome: Outcome, log_time: int) -> Decision:
    """What one outcome, read at `log_time` (milliseconds), says of its group."""
    return Decision(outcome.credits_version, outcome.outcome == SampleOutcome.TRAINED, log_time)
