"""Batches that are known to be missing from an episode, by its columns alone. Pure."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.schemas.spans import Array


def missing_batches(batch: pa.RecordBatch, slot: Array, count: int) -> list[int]:
    """How many batches of each of `count` episodes did not arrive.

    A producer numbers its batches of an episode from 0, and its end marker states the last
    number: what is not there below the highest known number is missing. `slot` [n]: the episode
    of each row.
    """
    missing = np.zeros(count, np.int64)
    producers = pc.dictionary_encode(batch.column("producer")).indices.to_numpy()
    number = batch.column("episode_batch").to_numpy().astype(np.int64)
    stated = batch.column("last_episode_batch").to_numpy().astype(np.int64)
    pair = slot.astype(np.int64) * (int(producers.max(initial=0)) + 1) + producers
    order = np.lexsort((number, pair))
    pair, number, stated, owner = pair[order], number[order], stated[order], slot[order]
    if not len(pair):
        return [0] * count
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    distinct = np.ones(len(pair), np.int64)
    distinct[1:] = (np.diff(pair) != 0) | (np.diff(number) != 0)
    seen = np.add.reduceat(distinct, first)
    highest = np.maximum.reduceat(np.maximum(number, stated), first)
    np.add.at(missing, owner[first], highest + 1 - seen)
    return [int(number) for number in np.minimum(missing, np.iinfo(np.int32).max)]
