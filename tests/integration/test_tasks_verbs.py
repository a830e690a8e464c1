"""`headrace tasks cancel` and `status` on the real parts: what they find, do and say."""

import json
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.clickhouse.tables import schema_of
from headrace.connectors.tasks import TasksSettings
from headrace.infra.cli.app import NO, app
from headrace.infra.cli.status import untrained
from headrace.infra.cli.tasks import tasks
from headrace.infra.embedded import Stack
from headrace.infra.settings import ClickHouseSettings, Settings
from headrace.schemas import Task, new_ulid
from headrace.streams.sink.tables import Row
from tests.support.watching import Watch

DATABASE = "tasks_verbs"


@pytest.fixture
def client(stack: Stack) -> Iterator[ClickHouse]:
    made = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    made.ensure_database()
    migrate.apply(made)
    yield made
    made.command(f"DROP DATABASE {DATABASE}")
    made.close()


@pytest.fixture
def watch(stack: Stack) -> Iterator[Watch]:
    made = Watch(stack)
    yield made
    made.close()


def typed(stack: Stack, *arguments: str, **environment: str) -> Result:
    where = {
        "HEADRACE_KAFKA_BOOTSTRAP": stack.bootstrap,
        "HEADRACE_REGISTRY_URL": stack.registry_url,
        "HEADRACE_CLICKHOUSE_URL": stack.clickhouse_url,
        "HEADRACE_CLICKHOUSE_DATABASE": DATABASE,
    }
    assert tasks is not None, "the verb is registered where it is defined"
    return CliRunner().invoke(app, list(arguments), env=where | environment)


def store(client: ClickHouse, table: str, rows: list[Row]) -> None:
    schema = schema_of(table)
    empty = {field.name: _zero(field.type) for field in schema}
    client.insert_arrow(table, pa.Table.from_pylist([{**empty, **row} for row in rows], schema))


def _zero(kind: pa.DataType) -> object:
    if pa.types.is_string(kind):
        return ""
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return []
    return False if pa.types.is_boolean(kind) else 0


def task_row(rollout: str, group: str, **facts: object) -> Row:
    return {
        "project": "default",
        "rollout_id": rollout,
        "group_id": group,
        "group_size": 2,
        "policy": "p",
        "version": -1,
        "split": "train",
        **facts,
    }


def test_a_group_is_taken_back_but_for_what_is_over(
    stack: Stack, client: ClickHouse, watch: Watch
) -> None:
    group, other = new_ulid(), new_ulid()
    over, waits, alone = new_ulid(), new_ulid(), new_ulid()
    store(client, "tasks", [task_row(over, group), task_row(waits, group), task_row(alone, other)])
    store(client, "outcomes", [{"project": "default", "rollout_id": over, "trainer": "main"}])

    done = typed(stack, "tasks", "cancel", group, alone, "nobody", "--json", "--why", "no use")
    assert done.exit_code == NO, done.output
    told = json.loads(done.output)
    assert sorted(told["cancelled"]) == sorted([waits, alone])
    assert (told["over"], told["unknown"]) == ([over], ["nobody"])
    wanted = {waits, alone}
    watch.until(lambda: wanted <= {one["rollout_id"] for one in watch.tasks})
    records = {one["rollout_id"]: Task(**one) for one in watch.tasks if one["cancelled"]}
    mine = records[waits]
    assert (mine.cancelled, mine.group_id, mine.policy) == ("no use", group, "p")
    assert over not in records


def test_what_it_did_is_said_in_words(stack: Stack, client: ClickHouse) -> None:
    rollout = new_ulid()
    store(client, "tasks", [task_row(rollout, new_ulid())])
    done = typed(stack, "tasks", "cancel", rollout)
    assert (done.exit_code, done.output) == (
        0,
        "1 rollouts are not to be run any more; their runner ends them\n",
    )


def episode(rollout: str, attempt: str, at: int, **facts: object) -> Row:
    known = {
        "project": "default",
        "rollout_id": rollout,
        "attempt": attempt,
        "version": 1,
        "state": "closed",
        "status": "error",
        "signals": [],
        "log_first": at,
        "log_last": at + 5,
    }
    return {**known, **facts}


def span(rollout: str, attempt: str, kind: str, name: str, **attributes: object) -> Row:
    return {
        "project": "default",
        "rollout_id": rollout,
        "attempt": attempt,
        "span_id": f"{kind}-{name}",
        "kind": kind,
        "name": name,
        "attributes": json.dumps(attributes) if attributes else "",
    }


def test_each_rollout_is_one_thing_by_what_became_of_its_attempts(
    stack: Stack, client: ClickHouse
) -> None:
    names = [
        *("queued", "running", "waiting", "stopped", "done", "retried"),
        *("failed", "lost", "cancelled", "again"),
    ]
    store(client, "tasks", [task_row(name, "g", deadline=99) for name in names])
    store(client, "tasks", [task_row("elsewhere", "h", policy="q", project="other")])
    retried, cancelled = [("retried", 1)], [("cancelled", 1)]
    store(
        client,
        "episodes",
        [
            episode("running", "a1", 10, signals=retried),
            episode("running", "a2", 20, state="open", status="unset"),
            episode("waiting", "a1", 10, signals=retried),
            episode("stopped", "a1", 10, signals=[("runner_stopped", 1)]),
            episode("done", "a1", 10, status="ok"),
            episode("retried", "a1", 10, signals=retried),
            episode("retried", "a2", 20, status="ok"),
            episode("failed", "a1", 30),
            episode("cancelled", "a1", 10, signals=cancelled),
            # Redelivered while it ran: one of the two runs came to its end.
            episode("again", "a1", 10, status="ok"),
            episode("again", "a2", 20, signals=cancelled),
        ],
    )
    store(client, "outcomes", [{"project": "default", "rollout_id": "lost", "trainer": "main"}])
    told = {"headrace.runner": "host/0", "headrace.attempt_number": 2}
    store(
        client,
        "spans",
        [
            span("running", "a2", "attempt.start", "agent", **told),
            span("failed", "a1", "event", "deadline"),
            span("failed", "a1", "exception", "ValueError", **{"exception.message": "no idea"}),
        ],
    )
    done = typed(stack, "tasks", "status", "--json")
    assert done.exit_code == 0, done.output
    mine, other = json.loads(done.output)["tasks"]
    running, error = mine.pop("now_running"), mine.pop("last_error")
    assert mine == {
        "policy": "p",
        "project": "default",
        **{"queued": 1, "running": 1, "waiting": 2, "done": 3, "failed": 2, "cancelled": 1},
        "retried": 3,
    }
    assert running == [
        {
            "rollout_id": "running",
            "attempt": "a2",
            "runner": "host/0",
            "number": 2,
            "since": 20,
            "deadline": 99,
        }
    ]
    assert error == {
        "rollout_id": "failed",
        "attempt": "a1",
        "text": "ValueError: no idea",
        "at": 35,
    }
    assert (other["policy"], other["project"], other["queued"]) == ("q", "other", 1)


def test_a_policy_whose_last_groups_all_ended_untrained_is_told_with_what_to_do(
    stack: Stack, client: ClickHouse
) -> None:
    now = int(time.time() * 1000)

    def outcomes(policy: str, *reasons: str, at: int = now) -> list[Row]:
        return [
            {
                "project": "default",
                "rollout_id": f"{policy}-{number}-{side}",
                "group_id": f"{policy}-{number}",
                "policy": policy,
                "trainer": "main",
                "outcome": "dropped" if reason else "trained",
                "reason": reason,
                "log_time": at + number,
            }
            for number, reason in enumerate(reasons)
            for side in range(2)
        ]

    yesterday = now - 25 * 3_600_000
    store(client, "outcomes", outcomes("burns", "", "stale", "bad_row", "bad_row"))
    store(client, "outcomes", outcomes("learns", "stale", "", "stale", "stale"))
    store(client, "outcomes", outcomes("held-out", "stale", "stale", "eval", "eval"))
    store(client, "outcomes", outcomes("long-ago", "stale", "stale", "stale", at=yesterday))
    store(client, "tasks", [task_row("r", "g")])
    told = typed(stack, "tasks", "status", "--json", HEADRACE_TASKS_PAUSE_AFTER="3")
    (burns,) = json.loads(told.output)["untrained"]
    assert (burns["policy"], burns["reasons"]) == ("burns", {"bad_row": 2, "stale": 1})
    words = typed(stack, "tasks", "status", HEADRACE_TASKS_PAUSE_AFTER="3")
    assert "burns: the last 3 groups all ended untrained (bad_row 2, stale 1): " in words.output
    # `headrace status` asks the same.
    where = ClickHouseSettings(url=stack.clickhouse_url, database=DATABASE)
    settings = Settings(clickhouse=where, tasks=TasksSettings(pause_after=3))
    ready = [{"name": "trainer", "state": "ready"}]
    assert [one.policy for one in untrained(settings, ready)] == ["burns"]
    assert untrained(settings, []) == []


def test_a_policy_that_was_renamed_or_taken_out_while_its_tasks_run_is_told(
    stack: Stack, client: ClickHouse
) -> None:
    now = int(time.time() * 1000)
    left = [task_row(f"r{n}", "g", policy="old", log_time=now) for n in range(3)]
    own = Settings().policy.name
    others = [task_row("r8", "g8", policy=own, log_time=now)]
    others.append(task_row("r9", "g9", policy="never", log_time=now))
    store(client, "tasks", left + others)
    store(client, "policies", [{"policy": name, "version": 0} for name in ("old", own)])
    ended = {"project": "default", "rollout_id": "r0", "group_id": "g", "policy": "old"}
    store(client, "outcomes", [{**ended, "trainer": "main", "outcome": "trained", "log_time": now}])
    told = json.loads(typed(stack, "tasks", "status", "--json").output)["untrained"]
    assert [(one["policy"], one["reasons"]) for one in told] == [("old", {"no_trainer": 2})]
    assert "It was renamed or taken out" in told[0]["message"]


def test_without_tasks_it_says_how_to_ask_for_some(stack: Stack, client: ClickHouse) -> None:
    done = typed(stack, "tasks", "status")
    assert (done.exit_code, done.output) == (
        0,
        "there are no tasks: `headrace tasks FILE` asks for them\n",
    )
