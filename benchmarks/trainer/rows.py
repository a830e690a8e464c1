"""The calls of a step: the same for whoever trains on them. Needs numpy alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUPS, GROUP = 6, 8
SHARED, OF_GROUP = 96, 32
"""Tokens of a prompt that all share, and that a group shares: a system prompt and a task."""
SHORTEST, LONGEST = 16, 48
"""Sampled tokens of a call."""


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Call:
    """One call of an episode of one call."""

    name: str
    group: str
    prompt: NDArray[np.uint32]
    sampled: NDArray[np.uint32]
    logp: NDArray[np.float32]
    """As if sampled by a policy a little away from any: log-probabilities of its tokens."""
    advantage: float


def calls(vocabulary: int, seed: int = 0) -> list[Call]:
    """48 calls of 6 groups."""
    random = np.random.default_rng(seed)

    def tokens(count: int) -> NDArray[np.uint32]:
        return random.integers(0, vocabulary, count).astype(np.uint32)

    system, made = tokens(SHARED), []
    for group in range(GROUPS):
        prompt = np.concatenate([system, tokens(OF_GROUP)])
        rewards = random.permutation(GROUP) / GROUP
        for member in range(GROUP):
            size = int(random.integers(SHORTEST, LONGEST + 1))
            made.append(
                Call(
                    name=f"g{group}-{member}",
                    group=f"g{group}",
                    prompt=prompt,
                    sampled=tokens(size),
                    logp=random.normal(-11.0, 1.0, size).astype(np.float32),
                    advantage=float((rewards[member] - rewards.mean()) / rewards.std()),
                )
            )
    return made
