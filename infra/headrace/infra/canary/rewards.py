"""What ClickHouse knows of the rollouts since a canary began."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.canary.evidence import ALONE, Rollouts

QUERY = """
SELECT e.project AS project, e.group_id AS group_id, e.rollout_id AS rollout_id, e.alone AS alone,
    g.reward AS reward, g.version_min AS version_min, g.version_max AS version_max
FROM (
    SELECT project, rollout_id, attempt, group_id, log_first, group_id = rollout_id AS alone
    FROM episodes FINAL
    WHERE policy = {policy:String} AND split = 'train' AND log_first > {since:Int64}
) AS e
LEFT JOIN (
    SELECT project, m.rollout_id AS rollout_id, m.attempt AS attempt, m.reward AS reward,
        m.version_min AS version_min, m.version_max AS version_max
    FROM (
        SELECT project, arrayJoin(members) AS m FROM current_groups
        WHERE policy = {policy:String} AND state = 'final' AND log_last > {since:Int64}
    )
    WHERE m.status = 'used'
) AS g ON g.project = e.project AND g.rollout_id = e.rollout_id AND g.attempt = e.attempt
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
    """Rollouts of a policy that started after a log time (milliseconds).

    drawn: whether a rollout is the canary's, by its id. versions: the stable one and the canary.
    Raises ClickHouseUnavailable.
    """
    rows = client.query(QUERY, {"policy": policy, "since": since})
    return columns(rows, drawn, versions)


def columns(
    rows: Sequence[Mapping[str, Any]], drawn: Callable[[str], bool], versions: tuple[int, int]
) -> Rollouts:
    """Rows of the query as columns. Pure.

    A rollout counts for the version that it was drawn for: one that got no answer at all (weights
    that cannot be loaded) counts against it, by the reward that its rule gave. One that another
    version answered (pinned by its client, or begun before) counts for neither.
    """
    numbers: dict[tuple[str, str], int] = {}
    group = np.empty(len(rows), dtype=np.int64)
    canary = np.empty(len(rows), dtype=np.bool_)
    reward = np.full(len(rows), np.nan, dtype=np.float64)
    for place, row in enumerate(rows):
        key = (str(row["project"]), str(row["group_id"]))
        group[place] = ALONE if row["alone"] else numbers.setdefault(key, len(numbers))
        canary[place] = drawn(str(row["rollout_id"]))
        if row["reward"] is not None and {row["version_min"], row["version_max"]} <= {
            NOBODY,
            versions[int(canary[place])],
        }:
            reward[place] = row["reward"]
    return Rollouts(group=group, canary=canary, reward=reward)
