"""Figures where a rule changed, a shadow trainer decided too, and two projects asked the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.console import seed
from starlette.testclient import TestClient

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.infra.console.app import application
from headrace.schemas.ids import sample_id

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "console_current"
OLD, NEW = "a_first@1", "b_second@1"
CREDIT = "uniform/grpo/uniform@1"


@pytest.fixture(scope="module")
def page(stack: Stack) -> Iterator[TestClient]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    for table, rows in rows_of().items():
        client.insert_arrow(table, seed.table_of(table, rows))
    for number, rule in ((1, OLD), (2, NEW)):
        client.command(f"INSERT INTO rule_changes VALUES ({number}, '{rule}', '{CREDIT}')")
    with TestClient(application(client), base_url="http://127.0.0.1:8090") as tested:
        yield tested
    client.command(f"DROP DATABASE {DATABASE}")
    client.close()


def rows_of() -> seed.Rows:
    """In each project, versions 0 and 1 answered the same task; only p2's version 1 is right."""
    rows: seed.Rows = {name: [] for name in ("episodes", "groups", "outcomes", "policies")}
    for version in (0, 1):
        rows["policies"].append(
            {"policy": "q", "version": version, "parent": version - 1, "trainer": "main",
             "metrics": {"entropy": 0.5}, "log_time": 1, "offset": version}
        )  # fmt: skip
    for project in ("p1", "p2"):
        for version in (0, 1):
            reward = float(project == "p2" and version == 1)
            rollout = f"r{version}"  # the same in both projects
            key = {"project": project, "rollout_id": rollout, "attempt": "a"}
            rows["episodes"].append(
                {**key, "version": 3, "state": "closed", "complete": True, "policy": "q",
                 "split": "train", "status": "ok", "group_id": f"g{version}", "task_input": "6 x 7",
                 "result": f"{project} {version}", "version_min": version, "version_max": version,
                 "log_last": 9, "expected": project}
            )  # fmt: skip
            # The old rule gave 0.25 to all, and a reward came late under it.
            for rule, given, last in ((OLD, 0.25, 20), (NEW, reward, 10)):
                rows["groups"].append(group(key, version, rule, given, last))
    rows["outcomes"] += [
        outcome("main", "s0", outcome="trained", step=1),
        outcome("main", "s1", outcome="dropped", reason="stale"),
        outcome("shadow", "s0", outcome="trained", step=1),
        outcome("shadow", "s1", outcome="dropped", reason="memory"),
    ]
    return rows


def group(
    key: dict[str, str], version: int, rule: str, reward: float, log_last: int
) -> dict[str, Any]:
    member = {
        "rollout_id": key["rollout_id"], "attempt": "a", "status": "used", "reward": reward,
        "advantage": reward, "complete": True, "version_min": version, "version_max": version,
    }  # fmt: skip
    return {
        "project": key["project"], "group_id": f"g{version}", "rule": rule, "credit": CREDIT,
        "row_version": 3, "state": "final", "group_size": 1, "policy": "q", "split": "train",
        "log_first": 5, "log_last": log_last, "outcome": "train", "mean": reward,
        "members": [member],
    }  # fmt: skip


def outcome(trainer: str, span: str, **facts: Any) -> dict[str, Any]:
    return {
        "project": "p1", "rollout_id": "r0", "attempt": "a", "group_id": "g0", "policy": "q",
        "trainer": trainer, "sample_id": sample_id("r0", "a", span), "log_time": 1, "tokens": 3,
        "step": -1, "advantage": 0.5, "reward": 0.5, **facts,
    }  # fmt: skip


def test_a_group_is_shown_under_the_rule_in_force_though_an_older_ones_row_came_last(
    page: TestClient,
) -> None:
    groups = page.get("/groups.json?policy=q").json()["groups"]
    assert sorted((row["project"], row["group_id"], row["mean"]) for row in groups) == [
        ("p1", "g0", 0.0), ("p1", "g1", 0.0), ("p2", "g0", 0.0), ("p2", "g1", 1.0),
    ]  # fmt: skip
    assert [row["rule"] for row in page.get("/json/groups/p2/g1").json()["group"]] == [NEW, OLD]
    assert ">1.000<" in page.get("/groups/p2/g1").text


def test_an_episode_is_shown_with_the_reward_in_force(page: TestClient) -> None:
    episodes = page.get("/episodes.json").json()["episodes"]
    shown = {(row["project"], row["rollout_id"]): row["reward"] for row in episodes}
    assert shown == {("p1", "r0"): 0, ("p1", "r1"): 0, ("p2", "r0"): 0, ("p2", "r1"): 1}
    standing = page.get("/json/episodes/p2/r1/a").json()["standing"]
    assert [row["rule"] for row in standing] == [NEW, OLD]


def test_what_a_shadow_decided_is_not_what_became_of_a_sample(page: TestClient) -> None:
    dropped = page.get("/ledger.json").json()["dropped"]
    assert [row["reason"] for row in dropped] == ["stale"]
    became = page.get("/json/policies/q/0").json()["became_of"]
    assert {(row["outcome"], row["samples"]) for row in became} == {("trained", 1), ("dropped", 1)}
    (trained,) = page.get("/json/policies/q/1").json()["trained_on"]
    assert (trained["samples"], trained["tokens"], trained["reward_used"]) == (1, 3, 0.5)


def test_each_project_is_compared_with_itself(page: TestClient) -> None:
    pairs = page.get("/compare.json?policy=q&split=train&a=0&b=1").json()["compared"]
    assert [
        (row["project"], row["verdict"], row["result_a"], row["result_b"]) for row in pairs
    ] == [("p2", "better", "p2 0", "p2 1"), ("p1", "both wrong", "p1 0", "p1 1")]
    assert page.get("/compare?policy=q&split=train&a=0&b=1").status_code == 200


def test_dimensions_are_of_a_project(page: TestClient) -> None:
    found = page.get("/rewards.json?policy=q").json()["dimensions"]
    assert [(row["project"], row["name"], row["version"], row["mean"]) for row in found] == [
        ("p1", NEW, 0, 0.0), ("p1", NEW, 1, 0.0), ("p2", NEW, 0, 0.0), ("p2", NEW, 1, 1.0),
    ]  # fmt: skip
    metrics = page.get("/json/policies/q").json()["policy_metrics"]
    assert [(row["version"], row["value"]) for row in metrics] == [(0, 0.5), (1, 0.5)]


def test_two_rules_are_compared_on_the_episodes_that_both_judged(page: TestClient) -> None:
    def pair(rule: str) -> str:
        return json.dumps([rule, CREDIT])

    found = page.get("/rewards.json", params={"a": pair(OLD), "b": pair(NEW)}).json()
    (row,) = found["rules_compared"]
    # Of four episodes the old rule gave each 0.25; the new one gave one of them 1, and the rest 0.
    assert (row["episodes"], row["groups"], row["change"]) == (4, 4, 0.0)
    flipped = found["rules_flipped"]
    assert (flipped[0]["project"], flipped[0]["rollout_id"]) == ("p2", "r1")
    assert (flipped[0]["reward_a"], flipped[0]["reward_b"]) == (0.25, 1.0)
    back = page.get("/rewards.json", params={"a": pair(NEW), "b": pair(OLD)}).json()
    assert back["rules_flipped"][0]["reward_a"] == 1.0
    text = page.get("/rewards", params={"a": pair(OLD), "b": pair(NEW)}).text
    assert text.count(" selected>") == 2
    unasked = page.get("/rewards.json").json()["rules_compared"]
    assert [row["episodes"] for row in unasked] == [4]
    nobody = page.get("/rewards.json", params={"a": pair("x"), "b": pair(NEW)}).json()
    assert nobody["rules_compared"] == []


@pytest.mark.parametrize("pair", ["x", "[1, 2]", "[]", '["a"]', "{}"])
def test_a_pair_that_is_none_is_refused(page: TestClient, pair: str) -> None:
    assert page.get("/rewards", params={"a": pair}).status_code == 400


def test_freshness_is_of_each_table_that_has_a_record(page: TestClient) -> None:
    found = page.get("/streams.json").json()["freshness"]
    assert {row["table"]: row["partitions"] for row in found} == {
        "episodes": 1, "groups": 1, "outcomes": 1, "policies": 1,
    }  # fmt: skip
