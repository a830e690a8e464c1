"""What rollouts tell of a canary beside the version that serves the others. Pure.

A rollout's version is drawn from its id, so what a canary answered is a random part of the same
traffic. The two are compared within a group (one task, so its difficulty falls out) or, for
ordinary traffic, within eight rollouts that started one after the other (so users who change fall
out).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ALONE = -1
"""The group of a rollout that has none."""
NEIGHBOURS = 8
"""So many rollouts of ordinary traffic are compared with each other."""


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Rollouts:
    """Rollouts since a canary began, an entry each, in the order in which they started."""

    group: npt.NDArray[np.int64]
    """[n] the rollout's group; ALONE: none."""
    canary: npt.NDArray[np.bool_]
    """[n] whether the canary's share drew it."""
    reward: npt.NDArray[np.float64]
    """[n] its reward; NaN: none, or none yet."""

    def __post_init__(self) -> None:
        sizes = {self.group.shape, self.canary.shape, self.reward.shape}
        if len(sizes) != 1 or self.group.ndim != 1:
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
    blocks = _blocks(rollouts.group)
    here = np.isfinite(rollouts.reward)
    losses: list[float] = []
    rewards: dict[bool, list[npt.NDArray[np.float64]]] = {True: [], False: []}
    for members in _by_block(blocks[here]):
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


def _blocks(group: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A number per rollout, the same for those that are compared."""
    alone = group == ALONE
    blocks = group.copy()
    # Rollouts without a reward yet are counted too: one that comes late joins its own block.
    blocks[alone] = group.max(initial=ALONE) + 1 + np.arange(alone.sum()) // NEIGHBOURS
    return blocks


def _by_block(blocks: npt.NDArray[np.int64]) -> list[npt.NDArray[np.intp]]:
    """The places of each block's rollouts."""
    order = np.argsort(blocks, kind="stable")
    ends = np.flatnonzero(np.diff(blocks[order])) + 1
    return [part for part in np.split(order, ends) if part.size]
