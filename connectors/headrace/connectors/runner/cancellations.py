"""Rollouts that are not to be run any more. No Kafka here; safe to share between threads."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.connectors.runner.jobs import JobCancelled
from headrace.schemas import Task

_Rollout = tuple[str, str]  # project and rollout id


class Cancellations:
    """What was cancelled, and how to end what runs of it.

    Whichever comes first, the cancellation or the start of an agent, the other one sees it.
    """

    def __init__(self) -> None:
        self.known = threading.Event()
        """Set once all is known that was cancelled before the runner started."""
        self._lock = threading.Lock()
        self._why: dict[_Rollout, str] = {}
        self._ends: dict[_Rollout, list[Callable[[], None]]] = defaultdict(list)

    def cancel(self, task: Task) -> None:
        """A record that takes a task back; ends the agents that run at it."""
        rollout = _rollout(task)
        with self._lock:
            if rollout in self._why:
                return
            self._why[rollout] = task.cancelled
            ends = list(self._ends.get(rollout, ()))
        for end in ends:
            end()

    def why(self, task: Task) -> str:
        """Why a task was cancelled; empty: it was not."""
        return self._why.get(_rollout(task), "")

    @contextmanager
    def running(self, task: Task, end: Callable[[], None]) -> Iterator[None]:
        """While an agent runs at a task; `end` is called once if it is cancelled meanwhile.

        Raises JobCancelled if it was cancelled before.
        """
        rollout = _rollout(task)
        with self._lock:
            if why := self._why.get(rollout, ""):
                raise JobCancelled(why)
            self._ends[rollout].append(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends[rollout].remove(end)
                if not self._ends[rollout]:
                    del self._ends[rollout]


def _rollout(task: Task) -> _Rollout:
    return task.project, task.rollout_id
