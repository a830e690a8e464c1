"""What ClickHouse knows of the rollouts since a canary began."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.canary.evidence import Rollouts

NEIGHBOURS = 8
"""So many episodes of ordinary traffic, that started one after the other, are compared."""

QUERY = """
SELECT e.project AS project, e.group_id AS group_id, e.rollout_id AS rollout_id,
    e.alone AS alone, e.partition AS partition, e.block AS block,
    NOT e.alone OR (e.whole AND isNotNull(g.status)) AS settled,
    if(g.status = 'used', g.reward, NULL) AS reward,
    g.version_min AS version_min, g.version_max AS version_max
FROM (
    SELECT *, countIf(state = 'closed') OVER (PARTITION BY project, partition, block)
        = {neighbours:UInt32} AS whole
    FROM (
        -- Of all episodes of a partition, in the log's order: one that comes later moves none.
        SELECT project, rollout_id, attempt, group_id, partition, policy, split, state, log_first,
            group_size <= 1 AS alone,
            intDiv(row_number() OVER (
                PARTITION BY project, partition ORDER BY log_first, rollout_id, attempt
            ) - 1, {neighbours:UInt32}) AS block
        FROM episodes FINAL
        WHERE log_first > {since:Int64}
    )
) AS e
LEFT JOIN (
    SELECT project, m.rollout_id AS rollout_id, m.attempt AS attempt, m.reward AS reward,
        m.status AS status, m.version_min AS version_min, m.version_max AS version_max
    FROM (
        SELECT project, arrayJoin(members) AS m FROM current_groups
        WHERE policy = {policy:String} AND state = 'final' AND log_last > {since:Int64}
    )
) AS g ON g.project = e.project AND g.rollout_id = e.rollout_id AND g.attempt = e.attempt
WHERE e.policy = {policy:String} AND e.split = 'train'
ORDER BY e.log_first, e.project, e.rollout_id, e.attempt
SETTINGS join_use_nulls = 1
"""

NOBODY = -1
"""The version of an episode without a token."""


def rollouts_since(
    client: ClickHouse,
    policy: str,
    since: int,
    drawn: Callable[[str], bool],
    versions: tuple[int, int],
) -> Rollouts:
    """Rollouts of a policy's own tasks that started after a log time (milliseconds).

    drawn: whether a rollout is the canary's, by its id. versions: the stable one and the canary.
    Raises ClickHouseUnavailable.
    """
    rows = client.query(QUERY, {"policy": policy, "since": since, "neighbours": NEIGHBOURS})
    return columns(rows, drawn, versions)


def columns(
    rows: Sequence[Mapping[str, Any]], drawn: Callable[[str], bool], versions: tuple[int, int]
) -> Rollouts:
    """Rows of the query as columns. Pure.

    A rollout counts for the version that it was drawn for: one that got no answer at all (weights
    that cannot be loaded) counts against it, by the reward that its rule gave. One that another
    version answered (pinned by its client, or begun before) counts for neither.
    """
    numbers: dict[tuple[str, ...], int] = {}
    block = np.empty(len(rows), dtype=np.int64)
    settled = np.empty(len(rows), dtype=np.bool_)
    canary = np.empty(len(rows), dtype=np.bool_)
    reward = np.full(len(rows), np.nan, dtype=np.float64)
    for place, row in enumerate(rows):
        names = ("partition", "block") if row["alone"] else ("group_id",)
        key = tuple(str(row[name]) for name in ("project", *names))
        block[place] = numbers.setdefault(key, len(numbers))
        settled[place] = row["settled"]
        canary[place] = drawn(str(row["rollout_id"]))
        if row["reward"] is not None and {row["version_min"], row["version_max"]} <= {
            NOBODY,
            versions[int(canary[place])],
        }:
            reward[place] = row["reward"]
    return Rollouts(block=block, settled=settled, canary=canary, reward=reward)
