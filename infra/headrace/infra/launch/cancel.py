"""Finding the tasks that somebody names, and taking them back."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import KafkaClientError
from headrace.connectors.tasks import cancel_tasks
from headrace.infra.errors import LogUnavailable
from headrace.infra.settings import Settings
from headrace.schemas import RegistryUnavailable, Task

DELIVERY_MS = 10_000  # a person waits for it
_FIND = """
SELECT project, rollout_id, group_id, group_size, policy, split, agent, deadline, subject,
    rollout_id IN (
        SELECT rollout_id FROM outcomes
        WHERE rollout_id IN (
            SELECT rollout_id FROM tasks WHERE has({ids:Array(String)}, rollout_id)
                OR has({ids:Array(String)}, group_id))
    ) AS over
FROM tasks FINAL
WHERE has({ids:Array(String)}, rollout_id) OR has({ids:Array(String)}, group_id)
ORDER BY group_id, rollout_id
"""


@dataclass(kw_only=True, slots=True, frozen=True)
class TakenBack:
    """What came of the ids that were named."""

    cancelled: list[str]
    """Rollouts that are not to be run any more."""
    over: list[str]
    """Rollouts that had their outcome."""
    unknown: list[str]
    """Ids of no rollout and no group."""


def cancel(settings: Settings, ids: Sequence[str], why: str) -> TakenBack:
    """Take back the rollouts of these ids (of rollouts or groups) that are not over.

    Raises:
        ClickHouseUnavailable: where the tasks are looked up.
        LogUnavailable: Kafka or the registry does not answer.
    """
    client = ClickHouse(settings.clickhouse_config)
    try:
        found = client.query(_FIND, {"ids": list(ids)})
    finally:
        client.close()
    over = [row for row in found if row.pop("over")]
    open_ = [row for row in found if row not in over]
    tasks = [Task(**row) for row in open_]  # type: ignore[arg-type]  # its columns are the fields
    if tasks:
        kafka = settings.kafka_access.client("headrace-cancel", delivery_timeout_ms=DELIVERY_MS)
        try:
            cancel_tasks(kafka, settings.registry_access, tasks, why)
        except (KafkaClientError, RegistryUnavailable) as error:
            raise LogUnavailable(str(error)) from error
    known = {str(row[name]) for row in found for name in ("rollout_id", "group_id")}
    return TakenBack(
        cancelled=[task.rollout_id for task in tasks],
        over=[str(row["rollout_id"]) for row in over],
        unknown=[one for one in ids if one not in known],
    )
