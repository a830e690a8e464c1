"""Policies whose last groups all ended untrained, as ClickHouse has it from the log."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.tasks import pause_text
from headrace.infra.settings import Settings
from headrace.schemas.vocabulary import GroupOutcome, SampleOutcome

_RECENT_H = 24
_LAST = f"""
SELECT policy, project, groupArray(why) AS reasons
FROM (
    SELECT policy, project, group_id, max(log_time) AS at, topK(1)(reason)[1] AS why,
        countIf(outcome = '{SampleOutcome.TRAINED}') AS trained
    FROM outcomes FINAL
    WHERE trainer = {{trainer:String}} AND outcome != '{SampleOutcome.REVISED}'
    GROUP BY policy, project, group_id
    HAVING countIf(reason = '{GroupOutcome.EVAL}') = 0
    ORDER BY at DESC LIMIT {{most:UInt32}} BY policy, project
)
GROUP BY policy, project
HAVING count() = {{most:UInt32}} AND sum(trained) = 0
    AND fromUnixTimestamp64Milli(max(at)) > now() - INTERVAL {_RECENT_H} HOUR
ORDER BY policy, project
"""


@dataclass(kw_only=True, slots=True, frozen=True)
class UntrainedPolicy:
    """A policy that its last groups taught nothing."""

    policy: str
    project: str
    reasons: dict[str, int]
    """Reason -> groups."""
    message: str
    """Why, and what to do."""


def untrained_policies(client: ClickHouse, settings: Settings) -> list[UntrainedPolicy]:
    """Those of the last day whose last `[tasks] pause_after` groups all ended untrained.

    Raises:
        ClickHouseUnavailable: ClickHouse does not answer.
        ClickHouseRejected: it has no such table.
    """
    asked = {"trainer": settings.trainer.name, "most": settings.tasks.pause_after}
    found: list[UntrainedPolicy] = []
    rows: list[Mapping[str, Any]] = [*client.query(_LAST, asked)]
    for row in rows:
        reasons = dict(Counter(row["reasons"]).most_common())
        found.append(
            UntrainedPolicy(
                policy=row["policy"],
                project=row["project"],
                reasons=reasons,
                message=pause_text(reasons),
            )
        )
    return found
