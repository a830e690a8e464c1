"""What a method that goes from trajectory to calls is given, and what it gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.schemas import Episode
from headrace.streams.credit.baseline import Baseline
from headrace.streams.credit.members import MemberCall

Array = npt.NDArray[np.float64]


@dataclass(kw_only=True, slots=True, frozen=True)
class CreditedEpisode:
    """An episode that takes part in its group: its reward, its advantage, its calls in order."""

    reward: float
    advantage: float
    calls: tuple[MemberCall, ...]

    def spread(self, weights: Array) -> Array:
        """The episode's advantage by weights of its calls, float64 [calls]."""
        advantages: Array = self.advantage * weights
        return advantages


@dataclass(kw_only=True, slots=True, frozen=True)
class CreditedGroup:
    """The episodes of a group that take part, and the baseline that gave their advantages.

    A method that compares calls takes the same baseline of them, so that all advantages of a group
    have one scale.
    """

    episodes: tuple[CreditedEpisode, ...]
    baseline: Baseline


Advantages = Callable[[CreditedGroup], Sequence[Array]]
"""A group to the advantages of the calls of each of its episodes, float64 [calls]."""


def observe_nothing(episode: Episode) -> Sequence[str]:
    """For a method to which the calls' common facts are enough."""
    return [""] * len(episode.calls)


@dataclass(kw_only=True, slots=True, frozen=True)
class CallMethod:
    """How the advantages of a group's episodes fall on their calls. Pure."""

    name: str
    """Part of the credit's id: it changes whenever the method's results do."""
    advantages: Advantages
    observe: Callable[[Episode], Sequence[str]] = observe_nothing
    """For each call of an Episode what else `advantages` needs of it: its `MemberCall.observed`."""
