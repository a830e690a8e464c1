"""Stage 1, trajectory → call: an episode's advantage weighted over its calls.

Sharing a return over calls and normalising afterwards turns the better action into the worse one
(rule: baseline before weights); `test_credit_stop_or_go_on.py` shows it.
Decompositions are of *rewards* and keep their sum; advantages need not sum to anything.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.streams.credit.errors import UnknownMethod

Array = npt.NDArray[np.float64]


@dataclass(kw_only=True, slots=True, frozen=True)
class CallMethod:
    """How an episode's advantage falls on its calls; `weights(k)` is float64 [k], in order."""

    name: str
    weights: Callable[[int], Array]

    def advantages(self, advantage: float, calls: int) -> Array:
        """Advantage of each of the episode's calls, float64 [calls]."""
        return advantage * self.weights(calls)


def uniform() -> CallMethod:
    """A_k = A for every call: what LightningRL published and ran (arXiv 2508.03680)."""
    return CallMethod(name="uniform", weights=np.ones)


def discounted(gamma: float) -> CallMethod:
    """A_k = gamma^(K-1-k)·A: the return-to-go of an outcome that comes with the last call.

    Raises UnknownMethod unless 0 < gamma ≤ 1.
    """
    if not 0 < gamma <= 1:
        raise UnknownMethod(f"discounted({gamma}): gamma must be in (0, 1]")
    return CallMethod(
        name=f"discounted({gamma:g})",
        weights=lambda calls: gamma ** np.arange(calls - 1, -1, -1, dtype=np.float64),
    )


def call_method(text: str) -> CallMethod:
    """The method of a setting: `uniform` or `discounted(0.9)`; raises UnknownMethod."""
    name, _, rest = text.partition("(")
    if text == "uniform":
        return uniform()
    if name == "discounted" and rest.endswith(")"):
        try:
            return discounted(float(rest[:-1]))
        except ValueError as error:
            raise UnknownMethod(f"{text!r}: {error}; write discounted(0.9)") from error
    raise UnknownMethod(f"no call method {text!r}: choose uniform or discounted(GAMMA)")


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
