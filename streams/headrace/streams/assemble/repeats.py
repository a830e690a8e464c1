"""Batches of which an episode took nothing, for their spans had all come before. Pure.

A span sent again travels in a batch with a number of its own, and its row loses to the first
occurrence: then no row of the table `spans` bears that number, and it would pass for a hole. So
such a number is kept apart, in the table `repeated_batches`: a set that only grows, whose members
follow from the log alone, as the spans do (rule: a repetition is no hole).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from headrace.schemas.spans import Array
from headrace.streams.assemble.keys import key_of

BatchNumber = tuple[str, int]
"""(producer, episode_batch)."""


@dataclass(kw_only=True, slots=True, frozen=True)
class RepeatedBatch:
    """A batch of an episode, all of whose spans had come before, and where it stood first."""

    key: str
    number: BatchNumber
    partition: int
    offset: int
    log_time: int


def numbers_of(batch: pa.RecordBatch, rows: Array) -> dict[BatchNumber, int]:
    """The batches that some rows came in, and the first of the rows of each."""
    chosen = batch.select(["producer", "episode_batch"]).take(pa.array(rows))
    pairs = zip(*(column.to_pylist() for column in chosen.columns), strict=True)
    first: dict[BatchNumber, int] = {}
    for pair, row in zip(pairs, rows.tolist(), strict=True):
        first.setdefault(pair, row)
    return first


def highest_of(parts: Iterable[tuple[pa.RecordBatch, Array]]) -> dict[str, int]:
    """The highest number that each producer is known to have used, by rows and end markers."""
    highest: dict[str, int] = {}
    for batch, rows in parts:
        columns = ["producer", "episode_batch", "last_episode_batch"]
        chosen = batch.select(columns).take(pa.array(rows))
        for producer, number, stated in zip(
            *(column.to_pylist() for column in chosen.columns), strict=True
        ):
            highest[producer] = max(highest.get(producer, -1), number, stated)
    return highest


def filled(
    repeats: Iterable[BatchNumber], seen: Iterable[BatchNumber], highest: dict[str, int]
) -> int:
    """How many numbers below their producer's highest known one only repeats account for.

    One above it says nothing yet: so a repetition by itself changes nothing of an episode.
    """
    unseen = set(repeats).difference(seen)
    return sum(number < highest.get(producer, -1) for producer, number in unseen)


def by_key(rows: pa.RecordBatch) -> dict[str, set[BatchNumber]]:
    """The batches of each episode in some rows of `repeated_batches`."""
    found: dict[str, set[BatchNumber]] = {}
    for row in rows.to_pylist():
        key = key_of(row["project"], row["rollout_id"], row["attempt"])
        found.setdefault(key, set()).add((row["producer"], row["episode_batch"]))
    return found
