"""Rollouts that were asked for and have not ended: whom a step would make stale. Pure."""

from bisect import bisect_right

from headrace.schemas import Task
from headrace.schemas.deadline import is_time
from headrace.schemas.vocabulary import Split
from headrace.trainer.decided import GroupKey

GRACE_MS = 30_000
"""After its deadline an attempt is still accounted for: so long its group is credited at the
latest, as credit sees it by default."""
_VERSIONS = 1_000


class Running:
    """The tasks of one policy that have a deadline, by the version they were admitted under.

    A rollout begins on the version that is served when its task is written, or on a later one:
    none of its tokens is of an older. Tasks without a deadline that can be a time are not waited
    for, since nothing says how long; neither are pinned ones, which nothing can keep fresh.
    """

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self._published: list[tuple[int, int]] = []
        self._deadlines: dict[int, dict[tuple[str, str], int]] = {}
        self._groups: dict[GroupKey, dict[str, int]] = {}

    def published(self, version: int, log_time: int) -> None:
        """A version is in the log at a log time (milliseconds)."""
        self._published.append((log_time, version))
        del self._published[:-_VERSIONS]

    def add(self, task: Task, log_time: int, now_ms: int) -> None:
        """Take a task in that was written at `log_time` (milliseconds), or taken back."""
        if task.policy != self._policy:
            return
        key = (task.project, task.group_id)
        if task.cancelled:
            self._end(key, task.rollout_id)
            return
        if not self.awaits(task, log_time, now_ms):
            return
        version = self._version_at(log_time)
        self._groups.setdefault(key, {})[task.rollout_id] = version
        rollouts = self._deadlines.setdefault(version, {})
        rollouts[task.project, task.rollout_id] = task.deadline

    def awaits(self, task: Task, log_time: int, now_ms: int) -> bool:
        """Whether a task is one that a step may have to wait for."""
        if task.policy != self._policy or task.cancelled:
            return False
        over = not is_time(task.deadline, log_time) or task.deadline + GRACE_MS <= now_ms
        return task.split == Split.TRAIN and task.version < 0 and not over

    def ended(self, key: GroupKey) -> None:
        """All rollouts of a group have ended."""
        for rollout in list(self._groups.get(key, ())):
            self._end(key, rollout)

    def admitted_before(self, version: int, now_ms: int) -> int:
        """Rollouts that may have tokens of a version before `version` and may still end well."""
        found = 0
        for one in [one for one in self._deadlines if one < version]:
            rollouts = self._deadlines[one]
            over = [key for key, deadline in rollouts.items() if deadline + GRACE_MS <= now_ms]
            for key in over:
                del rollouts[key]
            found += len(rollouts)
            if not rollouts:
                del self._deadlines[one]
        return found

    def _version_at(self, log_time: int) -> int:
        """The newest version when a task was written; before the first that is known, one less."""
        place = bisect_right(self._published, log_time, key=lambda one: one[0])
        if place:
            return self._published[place - 1][1]
        return self._published[0][1] - 1 if self._published else 0

    def _end(self, key: GroupKey, rollout: str) -> None:
        version = self._groups.get(key, {}).pop(rollout, None)
        if version is None:
            return
        self._deadlines.get(version, {}).pop((key[0], rollout), None)
        if not self._groups[key]:
            del self._groups[key]
