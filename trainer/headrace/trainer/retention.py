"""Which versions keep their weights on disk. Pure."""

from collections.abc import Collection, Iterable

from headrace.schemas import Task
from headrace.schemas.deadline import is_time
from headrace.trainer.decided import GroupKey
from headrace.trainer.running import GRACE_MS

OPEN_MS = 86_400_000
"""So long a pinned task without a deadline is taken to run, at most."""


def superfluous(
    versions: Iterable[int], *, last: int, every: int, held: Collection[int]
) -> list[int]:
    """The versions whose weights may go, ascending.

    What stays: the `last` ones by number, each `every`-th (0: none for that) and the first, and
    those that are `held`. last 0: all stay.
    """
    ordered = sorted(versions)
    if last == 0:
        return []
    kept = {0, *ordered[-last:], *held}
    return [one for one in ordered if one not in kept and (every == 0 or one % every)]


class Evaluations:
    """Tasks that are pinned to versions of one policy and have not ended."""

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self._open: dict[GroupKey, tuple[int, int]] = {}
        """By group: its version, and until when it counts (milliseconds)."""

    def add(self, task: Task, log_time: int) -> None:
        """Take note of a task that was written at `log_time`, or taken back."""
        if task.policy != self._policy or task.version < 0:
            return
        key = (task.project, task.group_id)
        if task.cancelled:
            self.ended(key)
            return
        told = is_time(task.deadline, log_time)
        until = task.deadline + GRACE_MS if told else log_time + OPEN_MS
        self._open[key] = (task.version, max(until, self._open.get(key, (0, 0))[1]))

    def ended(self, key: GroupKey) -> None:
        """A group was credited."""
        self._open.pop(key, None)

    def versions(self, now_ms: int) -> set[int]:
        """The versions that are needed."""
        over = [key for key, (_, until) in self._open.items() if until <= now_ms]
        for key in over:
            del self._open[key]
        return {version for version, _ in self._open.values()}
