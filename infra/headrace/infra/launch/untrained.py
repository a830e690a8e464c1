"""Policies whose last groups all ended untrained, as ClickHouse has it from the log."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.tasks import pause_text
from headrace.infra.settings import Settings
from headrace.schemas.vocabulary import GroupOutcome, SampleOutcome, Split

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
_WITHOUT_TRAINER = f"""
SELECT policy, project, count() AS rollouts
FROM tasks FINAL
WHERE split = '{Split.TRAIN}' AND policy NOT IN {{trained:Array(String)}}
    AND policy IN (SELECT policy FROM policies FINAL)
    AND fromUnixTimestamp64Milli(log_time) > now() - INTERVAL {_RECENT_H} HOUR
    AND (project, rollout_id) NOT IN (
        SELECT project, rollout_id FROM outcomes FINAL WHERE trainer = {{trainer:String}}
    )
GROUP BY policy, project
ORDER BY policy, project
"""
NO_TRAINER = "no_trainer"


@dataclass(kw_only=True, slots=True, frozen=True)
class UntrainedPolicy:
    """A policy that its last groups taught nothing, or that nobody trains any more."""

    policy: str
    project: str
    reasons: dict[str, int]
    """Reason -> groups; `no_trainer` -> rollouts that will have no outcome."""
    message: str
    """Why, and what to do."""


def untrained_policies(client: ClickHouse, settings: Settings) -> list[UntrainedPolicy]:
    """Those of the last day whose last `[tasks] pause_after` groups all ended untrained, and those
    that were trained, are not in the settings any more, and have rollouts that have not ended.

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
    return found + _without_trainer(client, settings)


def _without_trainer(client: ClickHouse, settings: Settings) -> list[UntrainedPolicy]:
    asked = {"trainer": settings.trainer.name, "trained": list(settings.roles.trained)}
    rows: list[Mapping[str, Any]] = [*client.query(_WITHOUT_TRAINER, asked)]
    return [
        UntrainedPolicy(
            policy=row["policy"],
            project=row["project"],
            reasons={NO_TRAINER: int(row["rollouts"])},
            message=f"{row['rollouts']} of its rollouts have no outcome and will have none: "
            "the settings name no such policy that is trained. It was renamed or taken out; put it "
            "back to headrace.toml ([policy], [policies]) to have them trained, or leave them "
            "pending. A new name begins anew, at version 0",
        )
        for row in rows
    ]
