"""Stage 1, trajectory → call: what of an episode's advantage falls on each of its calls.

Sharing a return over calls and normalising afterwards turns the better action into the worse one
(rule: baseline before weights); `test_credit_stop_or_go_on.py` shows it.
Decompositions are of *rewards* and keep their sum; advantages need not sum to anything.

To add a method: write a CallMethod in a file of its own and name it in CALL_METHODS. It sees all
episodes of the group that take part, with the facts of their calls; what it needs beyond these it
takes from the Episode by `observe`, as a text per call that is kept with the group.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.schemas import Episode
from headrace.streams.credit.errors import UnknownMethod
from headrace.streams.credit.members import MemberCall
from headrace.streams.credit.methods import Methods

Array = npt.NDArray[np.float64]


@dataclass(kw_only=True, slots=True, frozen=True)
class CreditedEpisode:
    """An episode that takes part in its group: its reward, its advantage, its calls in order."""

    reward: float
    advantage: float
    calls: tuple[MemberCall, ...]


Advantages = Callable[[Sequence[CreditedEpisode]], Sequence[Array]]
"""The episodes of a group to the advantages of the calls of each, float64 [calls]."""


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


def weighted_by(
    weights: Callable[[int], Array],
) -> Callable[[Sequence[CreditedEpisode]], list[Array]]:
    """Advantages of an episode in proportion to `weights(k)`, float64 [k], of its k calls."""
    return lambda episodes: [
        episode.advantage * weights(len(episode.calls)) for episode in episodes
    ]


UNIFORM = CallMethod(name="uniform", advantages=weighted_by(np.ones))
"""A_k = A for every call: what LightningRL published and ran (arXiv 2508.03680)."""


def discounted(gamma: float) -> CallMethod:
    """A_k = gamma^(K-1-k)·A: the return-to-go of an outcome that comes with the last call.

    Raises UnknownMethod unless 0 < gamma ≤ 1.
    """
    if not 0 < gamma <= 1:
        raise UnknownMethod(f"discounted({gamma}): gamma must be in (0, 1]")
    return CallMethod(
        name=f"discounted({gamma:g})",
        advantages=weighted_by(
            lambda calls: gamma ** np.arange(calls - 1, -1, -1, dtype=np.float64)
        ),
    )


CALL_METHODS: Methods[CallMethod] = Methods(
    stage="call method", plain={"uniform": UNIFORM}, of_number={"discounted": discounted}
)


def at_last(reward: float, calls: int) -> Array:
    """Per-call rewards [calls] with the whole outcome on the last call; Σ = reward."""
    rewards = np.zeros(calls)
    rewards[-1:] = reward
    return rewards


def evenly(reward: float, calls: int) -> Array:
    """Per-call rewards [calls], the outcome in equal parts; Σ = reward."""
    return weighted(reward, np.ones(calls))


def weighted(reward: float, weights: Array) -> Array:
    """Per-call rewards in proportion to non-negative weights [calls], not all 0; Σ = reward."""
    rewards: Array = reward * (weights / weights.sum())
    return rewards


def returns_to_go(rewards: Array, gamma: float = 1.0) -> Array:
    """R_k = Σ_{j≥k} gamma^(j-k)·r_j over the calls of one episode, float64 [calls]."""
    returns = np.empty(len(rewards))
    after = 0.0
    for k in range(len(rewards) - 1, -1, -1):
        after = rewards[k] + gamma * after
        returns[k] = after
    return returns
