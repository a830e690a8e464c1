"""Views that count, where a policy was credited by two rules, tried twice and is still at work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from headrace.connectors.clickhouse import ClickHouse, migrate
from headrace.streams.credit.store import GroupStore
from tests.integration.clickhouse.rows import insert
from tests.integration.clickhouse.server_process import Server

OLD, NEW = "span:success@1", "span:success@2"
METHOD = "uniform/grpo/uniform@1"


def member(rollout: str, reward: float, *, status: str = "used") -> dict[str, Any]:
    return {
        "rollout_id": rollout,
        "attempt": f"{rollout}-{status}",
        "status": status,
        "reward": reward,
        "dimensions": [],
        "version_min": 0,
        "version_max": 0,
    }


def group(
    name: str, rule: str, log_last: int, members: list[dict[str, Any]], *, state: str = "final"
) -> dict[str, Any]:
    samples = [
        {"sample_id": f"{each['attempt']}/s/0", "rollout_id": each["rollout_id"]}
        for each in members
    ]
    return {
        "project": "p",
        "group_id": name,
        "rule": rule,
        "credit": METHOD,
        "row_version": 2,
        "state": state,
        "policy": "a",
        "split": "train",
        "log_first": log_last - 1,
        "log_last": log_last,
        "members": members,
        "samples": samples,
    }


@pytest.fixture(scope="module")
def credited(server: Server) -> Iterator[ClickHouse]:
    client = server.client(database="counted")
    migrate.apply(client)
    rows = [
        group("before", OLD, 100, [member("r0", 1.0)]),
        group("both", OLD, 101, [member("r1", 1.0), member("r2", 1.0)]),
        group(
            "both",
            NEW,
            200,
            [member("r1", 0.25), member("r2", 0.75), member("r2", 9.0, status="superseded")],
        ),
        group("open", NEW, 201, [member("r3", 5.0)], state="open"),
    ]
    insert(client, "groups", rows)
    yield client
    client.command("DROP DATABASE counted")
    client.close()


def stage_of(client: ClickHouse, rule: str) -> GroupStore:
    return GroupStore(client, rule=rule, credit=METHOD)


def test_the_current_rule_is_that_of_the_newest_credit(credited: ClickHouse) -> None:
    asked = "SELECT policy, rule, toUnixTimestamp64Milli(since) AS since FROM current_rules"
    assert credited.query(asked) == [{"policy": "a", "rule": NEW, "since": 199}]


def test_a_late_reward_under_an_old_rule_makes_it_not_current(credited: ClickHouse) -> None:
    late = group("before", OLD, 300, [member("r0", 0.0)]) | {"row_version": 3, "log_first": 99}
    insert(credited, "groups", [late])
    assert credited.query("SELECT rule FROM current_rules") == [{"rule": NEW}]


def test_the_rule_that_the_stage_went_back_to_is_current_again(credited: ClickHouse) -> None:
    try:
        for rule in (OLD, NEW, OLD):
            stage_of(credited, rule).note_start()
            stage_of(credited, rule).note_start()
        told = credited.query("SELECT number, rule FROM rule_changes ORDER BY number")
        assert [(row["number"], row["rule"]) for row in told] == [(1, OLD), (2, NEW), (3, OLD)]
        assert credited.query("SELECT rule FROM current_rules") == [{"rule": OLD}]
        by = credited.query("SELECT DISTINCT rule FROM samples WHERE group_id = 'both'")
        assert by == [{"rule": OLD}]
    finally:
        credited.command("TRUNCATE TABLE rule_changes")


def test_a_version_is_as_good_as_its_closed_groups_under_the_current_rule(
    credited: ClickHouse,
) -> None:
    asked = "SELECT version, episodes, reward FROM reward_by_policy"
    assert credited.query(asked) == [{"version": 0, "episodes": 2, "reward": 0.5}]


def test_a_sample_is_one_row_by_the_newest_credit_of_its_group(credited: ClickHouse) -> None:
    asked = "SELECT group_id, rule, count() AS n FROM samples GROUP BY ALL ORDER BY group_id"
    assert credited.query(asked) == [
        {"group_id": "before", "rule": OLD, "n": 1},
        {"group_id": "both", "rule": NEW, "n": 3},
        {"group_id": "open", "rule": NEW, "n": 1},
    ]


def test_the_ledger_counts_each_sample_once(credited: ClickHouse) -> None:
    assert credited.query("SELECT state, samples FROM drop_ledger") == [
        {"state": "pending", "samples": 5}
    ]
