"""Views in users' words give known answers of a small world (story.py)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from headrace.connectors.clickhouse import ClickHouse, migrate
from headrace.connectors.clickhouse.saved import saved_queries
from tests.integration.clickhouse.rows import METHOD, NEW, OLD
from tests.integration.clickhouse.server_process import Server
from tests.integration.clickhouse.story import tell


@pytest.fixture(scope="module")
def world(server: Server) -> Iterator[ClickHouse]:
    client = server.client(database="story")
    migrate.apply(client)
    tell(client)
    yield client
    client.command("DROP DATABASE story")
    client.close()


def rows(world: ClickHouse, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in world.query(sql)]


def test_every_view_has_a_saved_query_that_asks_it(world: ClickHouse) -> None:
    asked = saved_queries()
    views = [
        name for (name,) in rows(world, "SELECT name FROM system.tables WHERE database = 'story' "
        "AND engine = 'View'")
    ]  # fmt: skip
    assert [name for name in views if name not in asked or name not in asked[name].sql] == []


STORY = {
    "rule_a": NEW,
    "credit_a": METHOD,
    "rule_b": "score@3",
    "credit_b": METHOD,
    "policy": "a",
    "version": "2",
    "b": "2",
}
EMPTY = {"dead_letters", "bad_ends", "transitions"}


@pytest.mark.parametrize("name", saved_queries())
def test_a_saved_query_answers(world: ClickHouse, name: str) -> None:
    query = saved_queries()[name]
    given = {key: value for key, value in STORY.items() if key in query.parameters}
    answer = world.query(query.sql, query.values(given))
    assert answer or name in EMPTY
    assert world.query(query.filled()) is not None


def test_a_rollout_s_state_says_where_it_is_and_why(world: ClickHouse) -> None:
    asked = "SELECT rollout_id, state, reason, attempts, attempt, reward, advantage FROM rollouts"
    assert rows(world, f"{asked} WHERE split = 'train' OR split = '' ORDER BY rollout_id") == [
        ("free", "waiting", "not_credited", 1, "t1", None, None),
        ("r1", "trained", "", 2, "t1", 1.0, 0.5),
        ("r2", "trained", "", 1, "t1", 0.0, -0.5),
        ("r3", "trained", "", 1, "t1", 0.0, 0.0),
        ("r4", "trained", "", 1, "t1", 0.0, 0.0),
        ("r5", "asked", "", 0, "", None, None),
        ("r6", "running", "", 1, "t1", None, None),
        ("r7", "waiting", "group_open", 1, "t1", 1.0, None),
        ("r8", "dropped", "stale", 1, "t1", 0.5, 0.0),
        ("r9", "credited", "", 1, "t1", 3.0, 1.0),
        ("rb", "trained", "", 1, "t1", 0.25, 0.0),
    ]
    assert rows(world, "SELECT DISTINCT state FROM rollouts WHERE split = 'eval'") == [
        ("evaluated",)
    ]
    pinned = "SELECT DISTINCT pinned_version FROM rollouts ORDER BY 1 NULLS FIRST"
    assert rows(world, pinned) == [(None,), (0,), (2,)]


def test_the_ledger_balances_by_where_rollouts_are(world: ClickHouse) -> None:
    columns = "asked, unasked, not_started, running, waiting, credited, trained, dropped, evaluated"
    assert rows(
        world,
        f"SELECT policy, split, {columns}, balanced FROM ledger_balance ORDER BY policy, split",
    ) == [
        ("a", "eval", 4, 0, 0, 0, 0, 0, 0, 0, 4, True),
        ("a", "train", 9, 1, 1, 1, 2, 1, 4, 1, 0, True),
        ("b", "train", 1, 0, 0, 0, 0, 0, 1, 0, 0, True),
    ]


def test_what_a_shadow_decides_is_nobody_s_ledger(world: ClickHouse) -> None:
    assert rows(world, "SELECT DISTINCT trainer FROM decisions ORDER BY trainer") == [
        ("trainer-a",),
        ("trainer-b",),
    ]
    assert rows(world, "SELECT version, staleness, samples, share FROM staleness "
        "WHERE policy = 'a' ORDER BY version") == [(1, 1, 2, 1.0), (2, 1, 2, 1.0)]  # fmt: skip


def test_a_timeline_begins_with_its_first_span(world: ClickHouse) -> None:
    asked = (
        "SELECT span_id, parent_id, from_ms, milliseconds, prompt_tokens, completion_tokens, "
        "version_min, version_max FROM timeline WHERE rollout_id = 'r4' ORDER BY from_ms"
    )
    assert rows(world, asked) == [
        ("c1", "", 0.0, 1000.0, 2, 3, 1, 2),
        ("tool", "c1", 1000.0, 100.0, 0, 0, None, None),
        ("c2", "", 2000.0, 250.0, 4, 3, 2, 2),
    ]


def test_messages_that_are_new_are_the_transcript(world: ClickHouse) -> None:
    asked = (
        "SELECT span_id, position, role, content, is_new FROM messages WHERE rollout_id = 'r4' "
        "ORDER BY called_at, position"
    )
    assert rows(world, asked) == [
        ("c1", 1, "system", "be brief", True),
        ("c1", 2, "user", "what?", True),
        ("c1", 3, "assistant", "", True),
        ("c2", 1, "system", "be brief", False),
        ("c2", 2, "user", "what?", False),
        ("c2", 3, "assistant", "", False),
        ("c2", 4, "tool", '[{"type":"text","text":"seen"}]', True),
        ("c2", 5, "assistant", "that", True),
    ]


def test_each_token_has_its_version_and_the_credit_of_its_call(world: ClickHouse) -> None:
    asked = (
        "SELECT position, token_id, logprob, version, advantage FROM tokens WHERE "
        "call_id = '{}' ORDER BY position"
    )
    assert rows(world, asked.format("r4/t1/c1")) == [
        (1, 7, -0.5, 1, 0.0),
        (2, 8, -0.25, 2, 0.0),
        (3, 9, -1.0, 2, 0.0),
    ]
    assert {row[-1] for row in rows(world, asked.format("r4/t1/c2"))} == {None}


def test_a_token_has_its_weight_and_what_the_trainer_saw(world: ClickHouse) -> None:
    asked = (
        "SELECT text, weight, trainer_logprob, gap, entropy, masked FROM tokens WHERE "
        "call_id = '{}' ORDER BY position"
    )
    assert rows(world, asked.format("r1/t1/c1")) == [
        ("thi", 0.5, -0.25, 0.25, 0.25, False),
        ("", 1.0, -0.25, 0.0, 0.5, False),
        ("", 0.0, -1.0, 0.0, 0.75, True),
    ]
    assert rows(world, asked.format("r2/t1/c1"))[0] == ("thi", 1.0, None, None, None, None)


def test_what_is_solved_pays_for_what_is_not(world: ClickHouse) -> None:
    asked = (
        "SELECT policy, version, episodes, solved, cost, cost_per_solved, unpriced_calls "
        "FROM cost_per_solved(threshold = 1) WHERE split = 'train' ORDER BY policy, version"
    )
    assert rows(world, asked) == [
        ("a", 0, 5, 3, 9.0, 3.0, 0),  # r1, r7 and r9 of five, with three tokens at 1 each called
        ("a", 1, 2, 0, 9.0, None, 0),
        ("b", 0, 1, 0, None, None, 1),
    ]


def test_rewards_by_name_are_of_used_episodes_under_the_current_rule(world: ClickHouse) -> None:
    asked = (
        "SELECT version, origin, name, episodes, mean FROM reward_dimensions "
        "WHERE policy = 'a' AND split = 'train' ORDER BY version, origin, name"
    )
    assert rows(world, asked) == [
        (0, "dimension", "short", 2, 0.5),
        (0, "rule", NEW, 3, 0.5),  # r1, r2 and r8; r9 is credited by the old rule alone
        (1, "rule", NEW, 2, 0.0),
        (1, "span", "thumbs", 1, 0.0),
    ]


def test_a_group_s_outcome_is_counted_once(world: ClickHouse) -> None:
    asked = (
        "SELECT version, outcome, groups, share FROM group_outcomes "
        "WHERE policy = 'a' AND split = 'train' ORDER BY version, outcome"
    )
    assert rows(world, asked) == [(0, "train", 3, 1.0), (1, "zero_advantage", 1, 1.0)]


def test_versions_tell_their_training_their_reward_and_when_they_served(world: ClickHouse) -> None:
    asked = (
        "SELECT version, parent, episodes, tokens, train_reward, eval_reward, ess, dropped, "
        "toUnixTimestamp64Milli(served_from), toUnixTimestamp64Milli(served_to) "
        "FROM versions WHERE policy = 'a' ORDER BY version"
    )
    assert rows(world, asked) == [
        (0, -1, 0, 0, 0.5, 0.5, None, 0, 1_000, 5_000),
        (1, 0, 2, 6, 0.0, None, 0.9, 0, 5_000, None),  # traffic went back to it
        (2, 1, 2, 6, None, 1.0, None, 5, 9_000, 9_500),
    ]
    assert rows(world, "SELECT version, served_to IS NULL FROM served WHERE policy = 'a'") == [
        (0, False),
        (1, False),
        (2, False),
        (1, True),
    ]
    assert rows(
        world, "SELECT metric, value FROM policy_metrics WHERE policy = 'a' ORDER BY 1"
    ) == [
        ("ess", 0.9),
        ("loss", 2.0),
        ("reward", 0.5),
    ]


def test_lineage_keeps_what_was_used_beside_what_is_so_now(world: ClickHouse) -> None:
    asked = (
        "SELECT version, rollout_id, reward_used, reward_now, advantage_used, advantage_now, "
        "revised FROM lineage WHERE policy = 'a' ORDER BY version, rollout_id"
    )
    assert rows(world, asked) == [
        (1, "r1", 1.0, 1.0, 0.5, 0.5, False),
        (1, "r2", 0.0, 0.0, -0.5, -0.5, False),
        (2, "r3", 1.0, 0.0, 0.5, 0.0, True),
        (2, "r4", 0.0, 0.0, -0.5, 0.0, True),
    ]


def test_a_version_has_learned_from_its_ancestors_samples_too(world: ClickHouse) -> None:
    asked = (
        "SELECT version, rollout_id FROM trained_as_of(policy = 'a', version = {}) ORDER BY 1, 2"
    )
    assert rows(world, asked.format(0)) == []
    assert rows(world, asked.format(1)) == [(1, "r1"), (1, "r2")]
    assert rows(world, asked.format(2)) == [(1, "r1"), (1, "r2"), (2, "r3"), (2, "r4")]


def test_a_reward_that_came_after_a_version_is_not_what_was_known(world: ClickHouse) -> None:
    asked = "SELECT name, value FROM rewards_as_of(policy = 'a', version = {})"
    assert rows(world, asked.format(0)) == []
    assert rows(world, asked.format(2)) == [("thumbs", 1.0)]


def test_versions_are_compared_on_the_tasks_that_both_answered(world: ClickHouse) -> None:
    asked = (
        "SELECT task_input, reward_a, reward_b, verdict, rollout_a, rollout_b "
        "FROM compare_versions(policy = 'a', a = 0, b = 2) ORDER BY task_input"
    )
    assert rows(world, asked) == [
        ("easy", 1.0, 1.0, "same", "e0-easy", "e2-easy"),
        ("hard", 0.0, 1.0, "better", "e0-hard", "e2-hard"),
    ]
    assert rows(world, "SELECT * FROM compare_versions(policy = 'a', a = 0, b = 1)") == []
    evaluated = "SELECT version, result, reward FROM evaluations ORDER BY version, result"
    assert rows(world, evaluated) == [
        (0, "easy by 0", 1.0),
        (0, "hard by 0", 0.0),
        (2, "easy by 2", 1.0),
        (2, "hard by 2", 1.0),
    ]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("score@3", [("r1", 1.0, 0.0, True), ("r2", 0.0, 1.0, True)]),
        (OLD, [("r1", 1.0, 9.0, False), ("r2", 0.0, 9.0, False)]),
    ],
)
def test_rules_are_compared_live_and_replayed(
    world: ClickHouse, other: str, expected: list[tuple[Any, ...]]
) -> None:
    asked = (
        "SELECT rollout_id, reward_a, reward_b, sign_flip FROM compare_rules("
        f"rule_a = '{NEW}', credit_a = '{METHOD}', rule_b = '{other}', credit_b = '{METHOD}') "
        "WHERE attempt = 't1' ORDER BY rollout_id"
    )
    assert rows(world, asked) == expected


def test_credit_of_an_agent_is_of_the_samples_that_a_version_made(world: ClickHouse) -> None:
    asked = (
        "SELECT version, agent, samples, episodes, trained, dropped, share_of_weight "
        "FROM credit_by_agent WHERE policy = 'a' AND split = 'train' ORDER BY version"
    )
    assert rows(world, asked) == [
        (0, "solver", 5, 5, 2, 1, 1.0),  # r7 and r9 are not decided
        (1, "solver", 2, 2, 2, 0, None),
    ]


def test_tokens_are_counted_with_the_prompt_that_is_shared(world: ClickHouse) -> None:
    asked = (
        "SELECT version, calls, prompt_tokens, completion_tokens, trained_tokens, dropped_tokens "
        "FROM tokens_by_policy WHERE policy = 'a' ORDER BY version"
    )
    assert rows(world, asked) == [
        (0, 3, 6, 9, 6, 3),
        (1, 2, 4, 6, 6, 0),
        (2, 1, 4, 3, 0, 0),
    ]


def test_signals_and_latency_are_by_version(world: ClickHouse) -> None:
    assert rows(
        world,
        "SELECT version, signal, episodes, count, share FROM signals_by_policy "
        "WHERE policy = 'a' AND split = 'train' AND count > 0",
    ) == [(0, "tool_errors", 1, 2, 1 / 7)]
    assert rows(
        world,
        "SELECT version, kind, name, calls, errors, p50 FROM latency_by_policy "
        "WHERE policy = 'a' AND split = 'train' ORDER BY version, kind",
    ) == [
        (0, "call", "", 3, 0, 500.0),
        (1, "call", "", 3, 0, 500.0),
        (1, "tool", "look", 1, 1, 100.0),
    ]


def test_freshness_tells_the_newest_record_of_each_stage(world: ClickHouse) -> None:
    asked = (
        "SELECT stage, table, toUnixTimestamp64Milli(newest_at), age_ms > 0 FROM freshness "
        "ORDER BY stage, table"
    )
    assert rows(world, asked) == [
        ("assemble", "episodes", 500, True),
        ("assemble", "spans", 9_900, True),
        ("credit", "groups", 9_999, True),
        ("sink", "outcomes", 5_000, True),
        ("sink", "policies", 9_000, True),
        ("sink", "tasks", 100, True),
    ]


@pytest.mark.parametrize("view", ["rollouts", "timeline", "messages", "tokens", "calls"])
def test_a_filter_on_a_rollout_reaches_the_tables(world: ClickHouse, view: str) -> None:
    asked = f"SELECT * FROM {view} WHERE project = 'p' AND rollout_id = 'r1'"
    (plan,) = world.query(
        "SELECT groupArray(explain) AS lines FROM "
        f"(EXPLAIN indexes = 1 {asked}) WHERE explain LIKE '%ReadFromMergeTree%' "
        "OR explain LIKE '%Condition:%'"
    )
    lines = [str(line) for line in plan["lines"]]  # type: ignore[attr-defined]
    read = {
        table.rsplit(".", 1)[1].rstrip(")"): condition
        for table, condition in pairwise(lines)
        if "ReadFromMergeTree" in table
    }
    by_rollout = {"tasks", "episodes", "spans", "outcomes"} & set(read)
    assert by_rollout
    assert [table for table in by_rollout if "rollout_id in ['r1', 'r1']" not in read[table]] == []
