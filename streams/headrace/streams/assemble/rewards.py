"""The rewards that an episode's spans give. Pure."""

import math

import numpy as np
import pyarrow as pa

from headrace.schemas import EpisodeReward
from headrace.schemas.columns import Block, columns_of
from headrace.schemas.spans import Array
from headrace.schemas.vocabulary import SpanKind
from headrace.streams.assemble.keys import flags
from headrace.streams.cells import cells

_FIELDS = {"span_id": "span_id"} | {
    column.name: column.field for column in columns_of(Block.REWARDS)
}
"""Columns of a reward, and the fields of the record that they become."""


def read_rewards(batch: pa.RecordBatch, slot: Array, count: int) -> list[list[EpisodeReward]]:
    """Rewards of `count` episodes in log order. One without a value counts as not a number.

    `batch`: spans in log order within an episode; `slot` [n]: the episode of each.
    """
    rows = np.flatnonzero(flags(batch, SpanKind.REWARD))
    rewards: list[list[EpisodeReward]] = [[] for _ in range(count)]
    for i, values in zip(slot[rows].tolist(), cells(batch, rows, list(_FIELDS)), strict=True):
        facts = dict(zip(_FIELDS.values(), values, strict=True))
        if facts["value"] is None:
            facts["value"] = math.nan
        rewards[i].append(EpisodeReward(**facts))
    return rewards
