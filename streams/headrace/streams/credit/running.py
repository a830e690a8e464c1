"""The baseline of groups of one: a running mean of the rewards before it. Pure.

A rollout of ordinary traffic has nobody to be compared with but those before it: the episodes of
its partition, project and policy (RAE, arXiv 2506.24119: A = R − b, then b moves towards R). The
episode itself is not in its own baseline. Which rewards were before it is kept with the group, so a
group that is credited again, by whomever, has the baseline that it had (rule: the highest version
wins).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BASELINE = "running_mean"

Array = npt.NDArray[np.float64]


@dataclass(kw_only=True, slots=True, frozen=True)
class Running:
    """The place of a group of one among the rewards of its partition, project and policy."""

    policy: str = ""
    count: int = 0
    """Which one it is, from 1 on; 0: it is not counted (yet)."""
    before: float = 0.0
    """The mean of those before it."""
    after: float = 0.0

    def advantages(self, rewards: Array) -> Array:
        """Rewards less the mean before, float64 [n]; 0 where nothing was before."""
        if self.count < 2:
            return np.zeros(len(rewards))
        advantages: Array = rewards - self.before
        return advantages


class RunningMeans:
    """The running means of a worker's partitions; over `window` rewards, with 1/window each."""

    def __init__(self, window: int) -> None:
        self.window = window
        self._last: dict[tuple[int, str, str], Running] = {}

    def adopt(self, partition: int, project: str, running: Running) -> None:
        """Go on from a stored place, if it is further than what is known."""
        key = partition, project, running.policy
        if running.count > self._last.get(key, Running()).count:
            self._last[key] = running

    def counted(self, partition: int, project: str, policy: str, reward: float) -> Running:
        """The place of the next reward."""
        last = self._last.get((partition, project, policy), Running())
        count = last.count + 1
        running = Running(
            policy=policy,
            count=count,
            before=last.after,
            after=last.after + (reward - last.after) / min(count, self.window),
        )
        self.adopt(partition, project, running)
        return running
