"""What the demo asks ClickHouse, over its HTTP interface."""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.clickhouse import ClickHouse

REWARD_BY_VERSION = """
SELECT version, episodes, round(reward, 3) AS reward, round(low, 3) AS low, round(high, 3) AS high
FROM reward_by_policy WHERE policy = {policy:String} AND split = 'train' ORDER BY version
"""

LEDGER = """
SELECT split, state, reason, samples FROM drop_ledger
WHERE policy = {policy:String} ORDER BY split DESC, state DESC, reason
"""

EVALUATED = """
SELECT
    t.version AS version, t.input AS input, t.expected AS expected, m.rollout_id AS rollout_id,
    m.attempt AS attempt, m.reward AS reward, e.result AS result
FROM tasks AS t FINAL
INNER JOIN (
    SELECT rollout_id, attempt, reward FROM credits
    WHERE split = 'eval' AND status = 'used'
) AS m ON m.rollout_id = t.rollout_id
INNER JOIN (SELECT rollout_id, attempt, result FROM episodes FINAL WHERE state = 'closed') AS e
    ON e.rollout_id = m.rollout_id AND e.attempt = m.attempt
WHERE t.split = 'eval' AND t.policy = {policy:String}
ORDER BY t.version, t.input
"""

TRANSCRIPT = """
SELECT output FROM calls WHERE rollout_id = {rollout_id:String} AND attempt = {attempt:String}
ORDER BY logged_at, call_id
"""

SPANS = "SELECT count() AS spans FROM spans"


Row = Mapping[str, Any]


def ask(client: ClickHouse, query: str, **parameters: Any) -> list[Row]:
    """Rows of one of the queries above."""
    return list(client.query(query, parameters))
