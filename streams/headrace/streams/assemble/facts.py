"""What an episode's start and end markers say. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.schemas import EpisodeCall
from headrace.schemas.columns import Block, columns_of
from headrace.schemas.spans import Array
from headrace.schemas.vocabulary import SpanKind, SpanStatus, Split
from headrace.streams.assemble.folded import Snapshot
from headrace.streams.assemble.keys import flags, parts_of
from headrace.streams.cells import records

_START_COLUMNS = [*(column.name for column in columns_of(Block.STARTS)), "input"]


@dataclass(kw_only=True, slots=True, frozen=True)
class Facts:
    """Facts of one episode. An attempt without a start is a group of one."""

    has_start: bool = False
    subject: str | None = None
    group_id: str = ""
    group_size: int = 1
    group_rollouts: list[str]
    policy: str = ""
    split: str = Split.TRAIN
    deadline: int = 0
    task_input: str = ""
    expected: str = ""
    status: str = SpanStatus.UNSET
    result: str = ""

    def completed(self, snapshot: Snapshot, calls: Sequence[EpisodeCall]) -> "Facts":
        """With what the episode itself says where its start says nothing."""
        _, rollout_id, _ = parts_of(snapshot.key)
        policies = (call.policy for call in calls if call.policy)
        return replace(
            self,
            group_id=self.group_id or rollout_id,
            policy=self.policy or next(policies, ""),
        )


def read_facts(batch: pa.RecordBatch, slot: Array, count: int) -> list[Facts]:
    """Facts of `count` episodes; where a marker is there twice, the first in the log counts.

    `batch`: spans in log order within an episode; `slot` [n]: the episode of each.
    """
    found: list[dict[str, Any]] = [{"group_rollouts": []} for _ in range(count)]
    for i, row in _first(batch, slot, flags(batch, SpanKind.START), _START_COLUMNS):
        row["group_size"] = min(max(1, row["group_size"]), np.iinfo(np.int32).max)
        row["task_input"] = row.pop("input")
        found[i].update(row, has_start=True)
    for i, row in _first(batch, slot, flags(batch, SpanKind.END), ["status", "output"]):
        found[i].update(status=row["status"], result=row["output"])
    named = pc.is_valid(batch.column("subject")).to_numpy(zero_copy_only=False)
    for i, row in _first(batch, slot, named, ["subject"]):
        found[i].update(row)
    return [Facts(**facts) for facts in found]


def _first(
    batch: pa.RecordBatch, slot: Array, chosen: Array, columns: list[str]
) -> list[tuple[int, dict[str, Any]]]:
    rows = np.flatnonzero(chosen)
    owners, first = np.unique(slot[rows], return_index=True)
    return list(zip(owners.tolist(), records(batch, rows[first], columns), strict=True))
