"""The users: they read the answers, a second or more after the episode has ended, and say thumbs.

They do what a user interface does: `POST /v1/feedback` with the id of the answer. What they have
not judged yet they find in ClickHouse, so a restart goes on where it was.
"""

import json
from collections.abc import Mapping
from http.client import HTTPException
from threading import Event
from typing import Any
from urllib.request import Request, urlopen

from headrace.connectors.clickhouse import ClickHouse

LATE_MS = 1_000
"""They take so long at least; log time, milliseconds."""
POST_S = 70.0
"""The gateway waits a minute for an episode that the tables do not know yet."""
UNJUDGED = """
SELECT e.rollout_id AS rollout_id, e.attempt AS attempt, e.result AS result, e.expected AS expected,
    c.response_id AS response_id
FROM (
    SELECT rollout_id, attempt, result, expected FROM episodes FINAL
    WHERE policy = {policy:String} AND state = 'closed' AND status = 'ok' AND rewards = 0
        AND log_last < toUnixTimestamp64Milli(now64(3)) - {late:Int64}
) AS e
INNER JOIN (
    SELECT rollout_id, attempt, argMax(response_id, log_time) AS response_id FROM spans
    WHERE kind = 'call' AND policy = {policy:String} GROUP BY rollout_id, attempt
) AS c ON c.rollout_id = e.rollout_id AND c.attempt = e.attempt
"""


class Users:
    """All users of a policy."""

    def __init__(self, client: ClickHouse, gateway_url: str, api_key: str, policy: str) -> None:
        self._client = client
        self._url = f"{gateway_url}/v1/feedback"
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._policy = policy
        self._judged: set[str] = set()

    def look(self, stop: Event) -> int:
        """Judge the answers that nobody has judged; how many these were.

        Raises ClickHouseUnavailable: look again later.
        """
        rows = self._client.query(UNJUDGED, {"policy": self._policy, "late": LATE_MS})
        new = [row for row in rows if row["response_id"] not in self._judged]
        said = 0
        for row in new:
            if stop.is_set():
                break
            try:
                self._say(str(row["response_id"]), thumbs(row))
            except (OSError, HTTPException):
                continue  # the gateway is away, or does not know the answer yet: said later
            self._judged.add(str(row["response_id"]))
            said += 1
        return said

    def _say(self, response_id: str, value: float) -> None:
        # Under one id it counts once, should it be sent again.
        given = {"response_id": response_id, "name": "thumbs", "value": value, "id": response_id}
        request = Request(self._url, json.dumps(given).encode(), self._headers)
        with urlopen(request, timeout=POST_S) as answer:
            answer.read()


def thumbs(row: Mapping[str, Any]) -> float:
    """1 if the agent's result is what the user knows to be right, else 0."""
    try:
        said = json.loads(row["result"])["result"]
    except (ValueError, TypeError, KeyError):
        return 0.0  # what the agent gave is no answer
    return float(said == json.loads(row["expected"]))
