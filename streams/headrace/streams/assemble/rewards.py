"""The rewards that an episode's spans give. Pure."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from headrace.schemas import EpisodeCall, EpisodeReward, call_id, episode_id
from headrace.schemas.spans import Array
from headrace.streams.assemble.cells import cells
from headrace.streams.assemble.core import Snapshot
from headrace.streams.assemble.keys import flags, parts_of

_COLUMNS = ["span_id", "reward_name", "reward_value", "reward_source", "reward_target"]


def read_rewards(batch: pa.RecordBatch, slot: Array, count: int) -> list[list[EpisodeReward]]:
    """Rewards of `count` episodes in log order. One without a value counts as not a number.

    `batch`: spans in log order within an episode; `slot` [n]: the episode of each.
    """
    rows = np.flatnonzero(flags(batch, "reward"))
    rewards: list[list[EpisodeReward]] = [[] for _ in range(count)]
    for i, (span_id, name, value, source, target) in zip(
        slot[rows].tolist(), cells(batch, rows, _COLUMNS), strict=True
    ):
        rewards[i].append(
            EpisodeReward(
                span_id=span_id,
                name=name,
                value=math.nan if value is None else value,
                source=source,
                target=target,
            )
        )
    return rewards


def reward_signals(
    snapshot: Snapshot, rewards: Sequence[EpisodeReward], calls: Sequence[EpisodeCall]
) -> dict[str, int]:
    """Counts of rewards that no rule can use: not finite, or for a call that is not there."""
    _, rollout_id, attempt = parts_of(snapshot.key)
    targets = {"", episode_id(rollout_id, attempt)}
    for call in calls:
        targets |= {call.span_id, call.response_id, call_id(rollout_id, attempt, call.span_id)}
    return {
        "invalid_rewards": sum(not math.isfinite(reward.value) for reward in rewards),
        "unmatched_rewards": sum(reward.target not in targets for reward in rewards),
    }
