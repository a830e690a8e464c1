"""How far the tasks of the stream are, as ClickHouse has it from the log."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.runner import NUMBER, RUNNER
from headrace.schemas.vocabulary import InfrastructureEnd, RowState, SpanKind, SpanStatus

# What a rollout is by its attempts: the newest says most, but one that ended well counts, and a
# rollout that was taken back gets no other.
_TASKS = f"""
WITH attempts AS (
    SELECT project, rollout_id,
        countIf(signals['{InfrastructureEnd.RETRIED}'] > 0) AS retried,
        max(signals['{InfrastructureEnd.CANCELLED}'] > 0) AS taken_back,
        max(state = '{RowState.CLOSED}' AND status = '{SpanStatus.OK}') AS well,
        argMax(
            (attempt, state, signals['{InfrastructureEnd.RETRIED}']
                + signals['{InfrastructureEnd.RUNNER_STOPPED}'], log_first, log_last),
            (log_first, attempt)) AS newest
    FROM episodes FINAL GROUP BY project, rollout_id
)
SELECT policy, project, what, count() AS rollouts, sum(tries) AS retried,
    argMax((rollout_id, last.1, last.5), last.5) AS latest,
    if(what = 'running', groupArray((rollout_id, last.1, last.4, deadline)), []) AS running
FROM (
    SELECT t.policy AS policy, t.project AS project, t.rollout_id AS rollout_id,
        t.deadline AS deadline, a.retried AS tries, a.newest AS last,
        multiIf(
            a.well, 'done',
            a.taken_back, 'cancelled',
            a.newest.1 = '', if(o.rollout_id = '', 'queued', 'failed'),
            a.newest.2 = '{RowState.OPEN}', 'running',
            a.newest.3 > 0 AND o.rollout_id = '', 'waiting',
            'failed') AS what
    FROM tasks AS t FINAL
    LEFT JOIN attempts AS a ON a.project = t.project AND a.rollout_id = t.rollout_id
    LEFT JOIN (SELECT DISTINCT project, rollout_id FROM outcomes) AS o
        ON o.project = t.project AND o.rollout_id = t.rollout_id
)
GROUP BY policy, project, what
ORDER BY policy, project
"""
_STARTS = f"""
SELECT rollout_id, attempt, attributes FROM spans FINAL
WHERE kind = '{SpanKind.START}' AND has({{attempts:Array(String)}}, attempt)
    AND has({{rollouts:Array(String)}}, rollout_id)
"""
_ERRORS = f"""
SELECT rollout_id, attempt, kind, name, attributes FROM spans FINAL
WHERE kind IN ('{SpanKind.EXCEPTION}', '{SpanKind.EVENT}')
    AND has({{attempts:Array(String)}}, attempt) AND has({{rollouts:Array(String)}}, rollout_id)
ORDER BY started_at, kind = '{SpanKind.EXCEPTION}'
"""


@dataclass(kw_only=True, slots=True, frozen=True)
class Running:
    """An attempt that has begun and not ended."""

    rollout_id: str
    attempt: str
    runner: str
    """Host and name of the runner; empty where it did not say."""
    number: int
    """Which attempt of that runner it is, from 1."""
    since: int
    deadline: int
    """Milliseconds since the epoch, of the log; a deadline of 0 is none."""


@dataclass(kw_only=True, slots=True, frozen=True)
class LastError:
    """Why the newest failed attempt failed."""

    rollout_id: str
    attempt: str
    text: str
    at: int
    """Milliseconds since the epoch, of the log."""


@dataclass(kw_only=True, slots=True)
class TaskCounts:
    """The rollouts of one policy in one project: each counts once, but for `retried`."""

    policy: str
    project: str
    queued: int = 0
    """No attempt has begun."""
    running: int = 0
    waiting: int = 0
    """An attempt is over and another one is to come."""
    done: int = 0
    """An attempt ended well."""
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    """Attempts that were tried again."""
    now_running: list[Running] = field(default_factory=list)
    last_error: LastError | None = None


def tasks_status(client: ClickHouse) -> list[TaskCounts]:
    """How far the tasks are, by policy and project.

    Raises:
        ClickHouseUnavailable: ClickHouse does not answer.
    """
    rows: Sequence[Mapping[str, Any]] = client.query(_TASKS)
    found: dict[tuple[str, str], TaskCounts] = {}
    begun = _attributes(client, [one[:2] for row in rows for one in row["running"]])
    failed = [row["latest"] for row in rows if row["what"] == "failed" and row["latest"][1]]
    errors = _errors(client, [one[:2] for one in failed])
    for row in rows:
        counts = found.setdefault(
            (row["policy"], row["project"]),
            TaskCounts(policy=row["policy"], project=row["project"]),
        )
        setattr(counts, row["what"], row["rollouts"])
        counts.retried += row["retried"]
        counts.now_running += [
            Running(
                rollout_id=rollout,
                attempt=attempt,
                runner=str(begun.get((rollout, attempt), {}).get(RUNNER, "")),
                number=int(begun.get((rollout, attempt), {}).get(NUMBER, 1)),
                since=since,
                deadline=deadline,
            )
            for rollout, attempt, since, deadline in sorted(row["running"], key=lambda one: one[2])
        ]
        if row["what"] == "failed" and row["latest"][1]:
            rollout, attempt, at = row["latest"]
            text = errors.get((rollout, attempt), "it ended with an error and did not say which")
            counts.last_error = LastError(rollout_id=rollout, attempt=attempt, text=text, at=at)
    return list(found.values())


def _attributes(
    client: ClickHouse, attempts: Iterable[Sequence[str]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """What the starts of these attempts (rollout, attempt) bear."""
    return {
        (str(row["rollout_id"]), str(row["attempt"])): _told(row["attributes"])
        for row in _asked(client, _STARTS, attempts)
    }


def _errors(client: ClickHouse, attempts: Iterable[Sequence[str]]) -> dict[tuple[str, str], str]:
    """The last exception of each attempt, or else the last event, in words."""
    found = {}
    for row in _asked(client, _ERRORS, attempts):
        told = _told(row["attributes"])
        message = told.get("exception.message") or told.get("message") or ""
        found[str(row["rollout_id"]), str(row["attempt"])] = (
            f"{row['name']}: {message}" if message else str(row["name"])
        )
    return found


def _asked(
    client: ClickHouse, sql: str, attempts: Iterable[Sequence[str]]
) -> list[dict[str, object]]:
    known = list(attempts)
    if not known:
        return []
    rollouts, tries = ([one[side] for one in known] for side in (0, 1))
    return client.query(sql, {"rollouts": rollouts, "attempts": tries})


def _told(attributes: object) -> dict[str, Any]:
    try:
        told = json.loads(str(attributes) or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
