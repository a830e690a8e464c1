"""Small decision processes whose true advantages are known exactly.

A process has states and actions in numbers, a policy that is softmax of logits, and episodes that
end. Its values follow from linear equations, so the true gradient of the return is no estimate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(kw_only=True, slots=True, frozen=True)
class Arc:
    """What may follow an action: the next state (None: the end) and a reward, with a chance."""

    chance: float
    to: int | None
    reward: float = 0.0


@dataclass(kw_only=True, slots=True, frozen=True)
class Process:
    """A decision process. `arcs[s][a]`: what may follow action a in state s."""

    name: str
    about: str
    """What it is an example of."""
    arcs: tuple[tuple[tuple[Arc, ...], ...], ...]
    policy: Array
    """Chance of each action in each state, float64 [states, actions]."""
    told: bool = False
    """Whether rewards are aimed at calls; else the episode's return is all that is known."""
    progress: Mapping[int, float] = field(default_factory=dict)
    """A potential that somebody could tell in a state: a guess of its value, not the value."""
    fails: Callable[[int, int], bool] = lambda state, action: False
    """Whether the tool that the action calls fails."""

    @property
    def states(self) -> int:
        """How many."""
        return len(self.arcs)

    def flow(self) -> tuple[Array, Array]:
        """Chances of the next state under each action, float64 [states, actions, states], and the
        expected rewards, float64 [states, actions]."""
        actions = self.policy.shape[1]
        chances = np.zeros((self.states, actions, self.states))
        rewards = np.zeros((self.states, actions))
        for s, of_state in enumerate(self.arcs):
            for a, arcs in enumerate(of_state):
                for arc in arcs:
                    rewards[s, a] += arc.chance * arc.reward
                    if arc.to is not None:
                        chances[s, a, arc.to] += arc.chance
        return chances, rewards

    def values(self) -> Array:
        """V(s) under the policy, float64 [states]: V = r + P·V."""
        chances, rewards = self.flow()
        onward = np.einsum("sa,sat->st", self.policy, chances)
        expected = (self.policy * rewards).sum(axis=1)
        values: Array = np.linalg.solve(np.eye(self.states) - onward, expected)
        return values

    def advantages(self) -> Array:
        """A(s, a) = Q(s, a) − V(s), float64 [states, actions]."""
        chances, rewards = self.flow()
        values = self.values()
        advantages: Array = rewards + chances @ values - values[:, None]
        return advantages

    def visits(self) -> Array:
        """How often an episode comes through each state, float64 [states]; it begins in state 0."""
        chances, _ = self.flow()
        onward = np.einsum("sa,sat->st", self.policy, chances)
        start = np.eye(1, self.states)[0]
        visits: Array = np.linalg.solve(np.eye(self.states) - onward.T, start)
        return visits

    def gradient(self) -> Array:
        """Of the expected return by the logits: visits·π·A, float64 [states, actions]."""
        gradient: Array = self.visits()[:, None] * self.policy * self.advantages()
        return gradient
