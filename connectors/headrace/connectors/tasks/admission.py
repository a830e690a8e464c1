"""How many rollouts may run: so few that none is too old when it is trained. No Kafka, no clock."""

from collections.abc import Iterable
from itertools import islice

_REMEMBERED = 10_000
"""Rollouts that are over and may still be told of again, at least."""


class Admission:
    """Counts the rollouts of one policy and says how many groups may start.

    Admits (η + version + 1)·B - accepted - running rollouts (AReaL's rule: what would be trained
    more than η versions after it was sampled is not started), and never more than (η + 1)·B at
    once: steps that trained fewer than B must not let a longer queue build up. A rollout runs
    from its admission to its first terminal outcome; it is accepted once a sample of it was
    trained. Before version 0 nothing is admitted.

    Events may come in any order and more than once. The outcomes of a rollout's samples come by
    several partitions, one dropped before one trained: so a rollout whose samples were dropped
    holds its place until `settle`. Of those that are over only the last ones are kept, many times
    as many as may run at once: what is said of an older one would count again.
    """

    def __init__(self, *, rollouts_per_step: int, max_staleness: int, group_size: int) -> None:
        self._step = rollouts_per_step
        self._staleness = max_staleness
        self._group = group_size
        self._version = -1
        self._first = 0
        """Steps to later versions count, and what was trained in them."""
        self._early = 0
        """Rollouts that were trained in steps before."""
        self._running: set[str] = set()
        self._over: dict[str, bool] = {}
        """The last ones that ended, oldest first, and whether they were trained."""
        self._forgotten = 0
        self._most = max(_REMEMBERED, 8 * (max_staleness + 1) * rollouts_per_step)
        self._accepted = 0
        self._dropped: set[str] = set()

    @property
    def version(self) -> int:
        """The newest version seen; -1: none."""
        return self._version

    @property
    def running(self) -> int:
        """Rollouts without an outcome."""
        return len(self._running)

    @property
    def accepted(self) -> int:
        """Rollouts that were trained."""
        return self._accepted

    @property
    def dropped(self) -> int:
        """Rollouts that are over and were not trained."""
        return self._forgotten + len(self._over) + len(self._dropped) - self._accepted

    def begin(self, version: int) -> None:
        """Nothing is told of steps to this version and earlier ones, or not everything."""
        self._first = version

    def published(self, version: int) -> None:
        """A policy version was published."""
        self._version = max(self._version, version)

    def admitted(self, rollouts: Iterable[str]) -> None:
        """Rollouts were started, by this source or by one before it."""
        self._running.update(each for each in rollouts if each not in self._over)

    def outcome(self, rollout_id: str, *, trained: bool, step: int | None = None) -> None:
        """A sample of a rollout, or a rollout that made none, was trained or dropped.

        `step`: the version that it was trained to, where that is known.
        """
        if trained:
            early = step is not None and 0 < step <= self._first
            self._end(rollout_id, trained=True, early=early)
        elif rollout_id not in self._over:
            self._dropped.add(rollout_id)

    def settle(self) -> None:
        """All outcomes that there are now have been told: what was dropped was not trained."""
        for rollout_id in list(self._dropped):
            self._end(rollout_id, trained=False)
        for rollout_id in list(islice(self._over, max(0, len(self._over) - self._most))):
            del self._over[rollout_id]
            self._forgotten += 1

    def _end(self, rollout_id: str, *, trained: bool, early: bool = False) -> None:
        self._dropped.discard(rollout_id)
        self._running.discard(rollout_id)
        before = self._over.get(rollout_id, False)
        self._over[rollout_id] = before or trained
        self._accepted += trained and not before
        self._early += early and trained and not before

    def capacity(self) -> int:
        """Rollouts that may start now, at least 0."""
        if self._version < 0:
            return 0
        steps = self._staleness + self._version - self._first + 1
        by_version = steps * self._step - (self.accepted - self._early)
        at_once = (self._staleness + 1) * self._step
        return max(0, min(by_version, at_once) - self.running)

    def groups(self) -> int:
        """Whole groups that may start now."""
        return self.capacity() // self._group
