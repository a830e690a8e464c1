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

UNSETTLED = """
SELECT count() AS rollouts FROM rollouts
WHERE policy = {policy:String} AND state IN ('asked', 'running', 'waiting', 'credited')
"""

EVALUATED = """
SELECT version, task_input AS input, expected, rollout_id, attempt, reward, status, result
FROM evaluations WHERE policy = {policy:String} ORDER BY version, input
"""

TRANSCRIPT = """
SELECT output FROM calls WHERE rollout_id = {rollout_id:String} AND attempt = {attempt:String}
ORDER BY logged_at, call_id
"""

SIGNALS = """
SELECT split, version, signal, episodes, count, round(share, 3) AS share FROM signals_by_policy
WHERE policy = {policy:String} AND count > 0 ORDER BY split, version, signal
"""

SPANS = "SELECT count() AS spans FROM spans"


Row = Mapping[str, Any]


def ask(client: ClickHouse, query: str, **parameters: Any) -> list[Row]:
    """Rows of one of the queries above."""
    return list(client.query(query, parameters))
