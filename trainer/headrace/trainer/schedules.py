"""Learning rates as pure functions of the version that a step makes. Imports nothing heavy."""

import math
from dataclasses import dataclass

from headrace.trainer.choices import Schedule


@dataclass(kw_only=True, slots=True, frozen=True)
class LearningRate:
    """What part of the learning rate a step takes: so a restart, and a branch, take the same."""

    schedule: Schedule = "constant"
    warmup: int = 0
    """Versions over which it rises, linearly, from nothing."""
    versions: int = 0
    """The version at which it has fallen to `end`."""
    end: float = 0.0
    """What is left of it then, a share."""

    def share(self, version: int) -> float:
        """Of the step that makes `version` (1 is the first), 0 to 1."""
        if version <= self.warmup:
            return version / self.warmup
        if self.schedule == "constant" or self.versions <= self.warmup:
            return 1.0
        done = min(1.0, (version - self.warmup) / (self.versions - self.warmup))
        left = 1.0 - done if self.schedule == "linear" else (1.0 + math.cos(math.pi * done)) / 2
        return self.end + (1.0 - self.end) * left
