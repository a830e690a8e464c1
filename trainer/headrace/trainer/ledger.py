"""Outcomes that are decided and not yet committed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.schemas import Outcome
from headrace.schemas.vocabulary import SampleOutcome

FLUSH_S = 1.0
FLUSH_OUTCOMES = 2_000


@dataclass(slots=True)
class PendingOutcomes:
    """Collects outcomes; `now` is seconds of any steady clock.

    They are due soon after the first of them, however busy the trainer is: the task source waits
    for the slots of dropped rollouts.
    """

    pending: list[Outcome] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    """Drops by reason since the last version."""
    _since: float = 0.0

    def add(self, outcomes: Sequence[Outcome], now: float) -> None:
        """Take outcomes in."""
        if outcomes and not self.pending:
            self._since = now
        self.pending += outcomes
        self.dropped.update(o.reason for o in outcomes if o.outcome == SampleOutcome.DROPPED)

    def is_due(self, now: float) -> bool:
        """Whether they are to be committed without waiting for a version."""
        waited = now - self._since >= FLUSH_S
        return bool(self.pending) and (waited or len(self.pending) >= FLUSH_OUTCOMES)

    def committed(self, *, with_version: bool) -> None:
        """All pending ones are on the log."""
        self.pending = []
        if with_version:
            self.dropped = Counter()
