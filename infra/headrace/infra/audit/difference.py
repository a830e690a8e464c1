"""What an audit found. Pure."""

from dataclasses import dataclass, field
from enum import StrEnum

MOST_KEPT = 1000


class Kind(StrEnum):
    """How log and tables may differ."""

    MISSING_BATCH = "missing_batch"
    """A producer's numbers have a hole: a batch that it sealed is not in the log."""
    LOST = "lost"
    """A span of the acknowledged log is not in `spans`."""
    EXTRA = "extra"
    """A row of `spans` is not in the log: something was doubled or made up."""
    OTHER_PLACE = "other_place"
    """A row of `spans` is not that of the span's first occurrence."""
    UNREAD = "unread"
    """A record that cannot be read is in no dead-letter topic."""
    EPISODE = "episode"
    """A row of `episodes` counts other spans than there are, or is not there."""
    NOT_CREDITED = "not_credited"
    """A closed episode is in no group though the credit stage has read it."""
    OUTCOME = "outcome"
    """A sample was trained and dropped, or has an outcome and no credit."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Difference:
    """One thing that is not as it should be."""

    kind: Kind
    where: str
    detail: str


@dataclass(kw_only=True, slots=True)
class Audit:
    """Counts by what they are of, and the first differences of each kind."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)
    """How many of each kind, those that are not kept included."""
    notes: list[str] = field(default_factory=list)
    """What was left out, and why."""

    @property
    def clean(self) -> bool:
        """Whether log and tables agree."""
        return not self.found

    def add(self, kind: Kind, where: str, detail: str) -> None:
        """Note a difference."""
        self.found[kind] = self.found.get(kind, 0) + 1
        if self.found[kind] <= MOST_KEPT:
            self.differences.append(Difference(kind=kind, where=where, detail=detail))

    def count(self, of: str, **numbers: int) -> None:
        """Add to the counts of a stage."""
        counts = self.counts.setdefault(of, {})
        for name, number in numbers.items():
            counts[name] = counts.get(name, 0) + number
