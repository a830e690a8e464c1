"""What rollouts tell of a canary beside the version that serves the others. Pure.

A rollout's version is drawn from its id, so what a canary answered is a random part of the same
traffic. The two are compared within a block: a group (one task, so its difficulty falls out) or,
for ordinary traffic, neighbours in time (so users who change fall out).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Rollouts:
    """Rollouts since a canary began, an entry each."""

    block: npt.NDArray[np.int64]
    """[n] those of one number are compared with each other."""
    settled: npt.NDArray[np.bool_]
    """[n] whether it has what it will have. A block counts when all of it is settled: what has
    been counted may not change while somebody looks on (but for rewards that are revised)."""
    canary: npt.NDArray[np.bool_]
    """[n] whether the canary's share drew it."""
    reward: npt.NDArray[np.float64]
    """[n] its reward; NaN: none."""

    def __post_init__(self) -> None:
        columns = (self.block, self.settled, self.canary, self.reward)
        sizes = {column.shape for column in columns}
        if len(sizes) != 1 or self.block.ndim != 1:
            raise ValueError(f"columns of one length are wanted: {sorted(sizes)}")


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Compared:
    """Rollouts of the two versions, compared block by block."""

    losses: npt.NDArray[np.float64]
    """[blocks] half the share of pairs (one rollout of each version) that the canary lost, less
    half the share that it won: -0.5 to 0.5, and 0 in the mean where the versions are equal."""
    canary: npt.NDArray[np.float64]
    """Rewards of the canary's rollouts that were compared."""
    stable: npt.NDArray[np.float64]
    """Rewards of the others that were compared."""


def compared(rollouts: Rollouts) -> Compared:
    """Compare the two versions in each block that holds a reward of both.

    Only the order of rewards counts (Mann and Whitney 1947), so any scale will do.
    """
    unsettled = rollouts.block[~rollouts.settled]
    here = np.isfinite(rollouts.reward) & ~np.isin(rollouts.block, unsettled)
    losses: list[float] = []
    rewards: dict[bool, list[npt.NDArray[np.float64]]] = {True: [], False: []}
    for members in _by_block(rollouts.block[here]):
        reward, drawn = rollouts.reward[here][members], rollouts.canary[here][members]
        if drawn.all() or not drawn.any():
            continue
        pairs = np.sign(reward[~drawn][:, None] - reward[drawn][None, :])
        losses.append(float(pairs.mean()) / 2)
        for which, lists in rewards.items():
            lists.append(reward[drawn == which])
    return Compared(
        losses=np.array(losses, dtype=np.float64),
        canary=np.concatenate([*rewards[True], np.empty(0)]),
        stable=np.concatenate([*rewards[False], np.empty(0)]),
    )


def _by_block(blocks: npt.NDArray[np.int64]) -> list[npt.NDArray[np.intp]]:
    """The places of each block's rollouts."""
    order = np.argsort(blocks, kind="stable")
    ends = np.flatnonzero(np.diff(blocks[order])) + 1
    return [part for part in np.split(order, ends) if part.size]
