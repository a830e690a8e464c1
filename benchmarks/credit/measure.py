"""Bias and noise of a method's gradient, from the same episodes as every other method's.

What an optimiser gets of a group is ĝ = 1/G Σ_i Σ_k Â_ik·∇log π(a_ik | s_ik). Its expectation and
its spread are compared with the true gradient g of the return, after the best scale c (an
optimiser's rate sets the scale, and methods differ in it):

- bias = ‖c·E[ĝ] − g‖ / ‖g‖: 0 is right, 1 tells nothing of the direction;
- noise = √(E‖c·(ĝ − E[ĝ])‖²) / ‖g‖ of one group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.credit.process import Array, Process
from benchmarks.credit.sample import Walk, calls_of

from headrace.streams.credit.baseline import Baseline
from headrace.streams.credit.call import CreditedEpisode, CreditedGroup
from headrace.streams.credit.registry import BASELINES, CALL_METHODS


@dataclass(kw_only=True, slots=True, frozen=True)
class Candidate:
    """A method under test. `critic_error`: deviation of its critic's values from the true ones."""

    call: str
    baseline: str = "dr_grpo"
    critic_error: float = 0.0

    @property
    def name(self) -> str:
        """As the report calls it."""
        error = f", values off by {self.critic_error:g}" if self.critic_error else ""
        return f"{self.call} / {self.baseline}{error}"


@dataclass(kw_only=True, slots=True, frozen=True)
class Measured:
    """`bias_error`: the standard error of `bias`; `telling`: share of groups with any credit."""

    bias: float
    bias_error: float
    noise: float | None
    """None: the mean points away from the true gradient."""
    telling: float


def measure(
    process: Process, groups: Sequence[Sequence[Walk]], candidate: Candidate, seed: int
) -> Measured:
    """A method on groups of episodes of a process."""
    chance = np.random.default_rng(seed)
    values = process.values() + candidate.critic_error * chance.standard_normal(process.states)
    baseline = BASELINES.named(candidate.baseline)
    gradients = np.array(
        [_gradient(process, walks, candidate.call, baseline, values) for walks in groups]
    )
    return judged(gradients, process.gradient().ravel())


def judged(gradients: Array, true: Array) -> Measured:
    """Estimates [groups, parameters] against the true gradient [parameters]."""
    mean = gradients.mean(axis=0)
    spread = ((gradients - mean) ** 2).sum(axis=1).mean()
    telling = float(np.abs(gradients).sum(axis=1).astype(bool).mean())
    size = float(np.linalg.norm(true))
    along = float(mean @ true)
    if along <= 0:
        return Measured(bias=1.0, bias_error=0.0, noise=None, telling=telling)
    # The mean's own error adds to its length: taken off, or noise would pass for bias.
    length = max(float(mean @ mean) - spread / len(gradients), along**2 / size**2)
    scale = along / length
    bias = np.sqrt(max(0.0, size**2 - along**2 / length)) / size
    error = scale * np.sqrt(spread / len(gradients)) / size
    return Measured(
        bias=float(bias),
        bias_error=float(error),
        noise=float(scale * np.sqrt(spread) / size),
        telling=telling,
    )


def _gradient(
    process: Process, walks: Sequence[Walk], method: str, baseline: Baseline, values: Array
) -> Array:
    advantages = baseline(np.array([one.reward for one in walks]))
    group = CreditedGroup(
        episodes=tuple(
            CreditedEpisode(
                reward=one.reward,
                advantage=advantage,
                calls=calls_of(process, one, method, values),
            )
            for one, advantage in zip(walks, advantages.tolist(), strict=True)
        ),
        baseline=baseline,
    )
    gradient = np.zeros_like(process.policy)
    for one, of_calls in zip(walks, CALL_METHODS.named(method).advantages(group), strict=True):
        for state, action, advantage in zip(one.states, one.actions, of_calls, strict=True):
            gradient[state] -= advantage * process.policy[state]
            gradient[state, action] += advantage
    return gradient.ravel() / len(walks)
