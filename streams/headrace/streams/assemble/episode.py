"""The set of one episode's spans, and when it closes. Pure; time is the log's."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.schemas.spans import Array
from headrace.schemas.vocabulary import ClosedBy
from headrace.streams.assemble.keys import NEVER
from headrace.streams.assemble.repeats import BatchNumber

_MASK = (1 << 64) - 1
_SIGN = 1 << 63


@dataclass(kw_only=True, slots=True, frozen=True)
class Limits:
    """When an episode without an end closes, in milliseconds of log time."""

    idle_ms: int
    max_age_ms: int
    grace_ms: int


class EpisodeState:
    """A set of span ids with what closedness and version depend on.

    Closed, once and for all, if an end span is in the set, or if time passed `close_by` between
    two spans or since the last one (rule: closedness follows from the log). Adding spans in log
    order, so a rebuild says the same.
    """

    __slots__ = (
        "_bound",
        "_ended",
        "_lapsed",
        "_published",
        "_sum",
        "filled",
        "ids",
        "key",
        "log_first",
        "log_last",
        "partition",
        "repeats",
        "rows",
    )

    def __init__(self, *, key: str, partition: int) -> None:
        self.key = key
        self.partition = partition
        self.ids: set[int] = set()
        self.rows: dict[int, Array] = {}
        self.repeats: set[BatchNumber] = set()
        self.filled = 0
        self.log_first = 0
        self.log_last = 0
        self._sum = 0
        self._bound = NEVER
        self._ended = False
        self._lapsed = ""
        self._published = 0

    @property
    def closed(self) -> bool:
        """Whether the episode is closed."""
        return self._ended or self._lapsed != ""

    @property
    def closed_by(self) -> str:
        """`end`, `idle` or `deadline`; '' while open. An end span outranks the clock."""
        return ClosedBy.END if self._ended else self._lapsed

    @property
    def version(self) -> int:
        """2·(n_spans + filled) + closed (rule: the highest version wins)."""
        return 2 * (len(self.ids) + self.filled) + self.closed

    @property
    def digest(self) -> int:
        """Wrapping int64 sum of the mixed span ids: the same in any order."""
        return self._sum - (1 << 64) if self._sum & _SIGN else self._sum

    def close_by(self, limits: Limits) -> int:
        """Log time that an open episode may reach but not pass."""
        return min(
            self.log_last + limits.idle_ms,
            self.log_first + limits.max_age_ms,
            self._bound + limits.grace_ms,
        )

    def unpublished(self) -> bool:
        """Whether it has a state to publish: never published, or closed since or further."""
        return self._published == 0 or (self.closed and self.version != self._published)

    def published(self) -> None:
        """The present version is on its way."""
        self._published = self.version

    def pass_time(self, now: int, limits: Limits) -> bool:
        """Let log time reach `now`; returns whether the episode is closed."""
        if not self.closed and now > self.close_by(limits):
            idle = self.log_last + limits.idle_ms <= self.close_by(limits)
            self._lapsed = ClosedBy.IDLE if idle else ClosedBy.DEADLINE
        return self.closed

    def takes_plainly(
        self, ids: Sequence[int], *, first: int, last: int, widest: int, bound: int, limits: Limits
    ) -> bool:
        """Whether spans can be added at once: all new, and no time limit among or before them."""
        fresh = len(self.ids) == 0
        if len(set(ids)) < len(ids) or not (fresh or self.ids.isdisjoint(ids)):
            return False
        if self.closed:
            return True
        begin = first if fresh else self.log_first
        return (
            (fresh or first <= self.log_last + limits.idle_ms)
            and widest <= limits.idle_ms
            and last <= begin + limits.max_age_ms
            and last <= min(bound, self._bound) + limits.grace_ms
        )

    def add_all(
        self, ids: Sequence[int], *, mixed: int, first: int, last: int, ended: bool, bound: int
    ) -> None:
        """Add spans of which `takes_plainly` holds; `mixed` is the sum of their mixed ids."""
        if not self.ids:
            self.log_first = first
        self.ids.update(ids)
        self.log_last = max(self.log_last, last)  # a broker's clock may step back
        self._sum = (self._sum + mixed) & _MASK
        self._ended = self._ended or ended
        self._bound = min(self._bound, bound)

    def add(
        self, span_id: int, *, mixed: int, log_time: int, ended: bool, bound: int, limits: Limits
    ) -> bool:
        """Add one span; returns whether it was new."""
        if span_id in self.ids:
            return False
        if self.ids:
            self.pass_time(log_time, limits)
        else:
            self.log_first = log_time
        self.ids.add(span_id)
        self.log_last = max(self.log_last, log_time)
        self._sum = (self._sum + mixed) & _MASK
        self._ended = self._ended or ended
        self._bound = min(self._bound, bound)
        return True
