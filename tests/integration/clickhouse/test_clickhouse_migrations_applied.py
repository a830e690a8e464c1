"""Migrations applied to a real server: once, in order, and never changed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected, MigrationError, migrate
from headrace.streams.credit.running import Running
from headrace.streams.credit.store import GroupStore
from tests.integration.clickhouse.server_process import Server
from tests.support.waiting import wait_until


@pytest.fixture
def empty(server: Server, client: ClickHouse) -> Iterator[ClickHouse]:
    """A client of a database that does not exist yet."""
    scratch = server.client(database="scratch")
    yield scratch
    client.command("DROP DATABASE IF EXISTS scratch SYNC")
    scratch.close()


def folder(path: Path, **files: str) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / f"{name.removeprefix('m')}.sql").write_text(text)
    return path


ONE = "CREATE TABLE IF NOT EXISTS one (a UInt8, s LowCardinality(String)) ENGINE = Memory;"
TWO = "CREATE VIEW IF NOT EXISTS two AS SELECT a + 1 AS b FROM one;"
THREE = "CREATE TABLE IF NOT EXISTS three (c UInt8) ENGINE = Memory;"


def test_migrations_apply_once_and_in_order(empty: ClickHouse, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", m0001_create_one=ONE, m0002_create_two=TWO)
    assert migrate.apply(empty, path) == ["0001_create_one", "0002_create_two"]
    assert migrate.apply(empty, path) == []
    folder(path, m0003_create_three=THREE)
    assert migrate.apply(empty, path, dry_run=True) == ["0003_create_three"]
    assert "three" not in migrate.live_schema(empty)
    assert [m.name for m in migrate.pending(empty, path)] == ["0003_create_three"]
    migrate.apply(empty, path)
    assert migrate.live_schema(empty) == {
        "one": {"a": "UInt8", "s": "LowCardinality(String)"},
        "two": {"b": "UInt16"},
        "three": {"c": "UInt8"},
    }
    assert migrate.declared_schema(empty, path) == migrate.live_schema(empty)


def test_a_broken_migration_is_repeated_once_mended(empty: ClickHouse, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", m0001_create_one=ONE + "\nCREATE TABLE IF;")
    with pytest.raises(ClickHouseRejected):
        migrate.apply(empty, path)
    folder(path, m0001_create_one=ONE + "\n" + THREE)
    assert migrate.apply(empty, path) == ["0001_create_one"]


def test_what_was_applied_must_not_change(empty: ClickHouse, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", m0001_create_one=ONE, m0002_create_two=TWO)
    migrate.apply(empty, path)
    folder(path, m0001_create_one=ONE + " -- changed")
    with pytest.raises(MigrationError, match=r"0001_create_one.*changed"):
        migrate.apply(empty, path)
    folder(path, m0001_create_one=ONE)
    (path / "0002_create_two.sql").unlink()
    with pytest.raises(MigrationError, match="0002_create_two was applied"):
        migrate.pending(empty, path)


def test_an_earlier_migration_cannot_be_added_later(empty: ClickHouse, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", m0001_create_one=ONE, m0002_create_two=TWO)
    migrate.apply(empty, path)
    empty.command("ALTER TABLE schema_migrations DELETE WHERE migration = 1", None)
    empty.command("OPTIMIZE TABLE schema_migrations FINAL")
    gone = "SELECT count() AS n FROM schema_migrations WHERE migration = 1"
    wait_until(lambda: empty.query(gone) == [{"n": 0}], "the row to be deleted")
    with pytest.raises(MigrationError, match="0001_create_one was left out"):
        migrate.pending(empty, path)


def test_the_shipped_migrations_declare_what_is_live(empty: ClickHouse) -> None:
    migrate.apply(empty)
    assert migrate.live_schema(empty) == migrate.declared_schema(empty)
    assert {"spans", "episodes", "groups"} <= set(migrate.live_schema(empty))
    for name in migrate.live_schema(empty):
        assert empty.query_arrow(f"SELECT * FROM {name} LIMIT 1").num_rows == 0


def test_reasons_that_held_a_detail_are_taken_apart(empty: ClickHouse, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for path in sorted(migrate.MIGRATIONS.glob("000[1-6]_*.sql")):
        (old / path.name).write_bytes(path.read_bytes())
    migrate.apply(empty, old)
    reasons = ["rule_error: KeyError: 'x'", "infrastructure", "", "reward_invalid: nan"]
    members = ", ".join(
        f"('r{i}', 'a', 3, '', {'NULL' if reason else '0.5'}, '{reason.replace(chr(39), chr(34))}',"
        f" 0.25, 1, {i}, true, 'ok', 0, 2)"
        for i, reason in enumerate(reasons)
    )
    empty.command(
        "INSERT INTO groups (project, group_id, row_version, state, members) "
        f"VALUES ('p', 'g', 7, 'final', [{members}])"
    )
    assert "0007_add_details" in migrate.apply(empty)
    found = empty.query(
        "SELECT m.rollout_id AS rollout, m.reward_reason AS reason, m.reward_detail AS detail, "
        "m.reward AS reward, m.advantage AS advantage, m.log_time AS log_time, "
        "m.version_max AS version "
        "FROM (SELECT arrayJoin(members) AS m FROM groups FINAL) ORDER BY rollout"
    )
    assert [(row["reason"], row["detail"]) for row in found] == [
        ("rule_error", 'KeyError: "x"'),
        ("infrastructure", ""),
        ("", ""),
        ("reward_invalid", "nan"),
    ]
    assert [row["reward"] for row in found] == [None, None, 0.5, None]
    assert [(row["advantage"], row["log_time"], row["version"]) for row in found] == [
        (0.25, i, 2) for i in range(4)
    ]
    assert empty.query("SELECT rollout_id, detail FROM credits ORDER BY rollout_id LIMIT 1") == [
        {"rollout_id": "r0", "detail": 'KeyError: "x"'}
    ]


def test_groups_of_an_earlier_release_are_taken_on(empty: ClickHouse, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for path in sorted(migrate.MIGRATIONS.glob("000[1-9]_*.sql")):
        (old / path.name).write_bytes(path.read_bytes())
    migrate.apply(empty, old)
    empty.command(
        "INSERT INTO groups (project, group_id, rule, credit, row_version, state, partition, "
        "members, samples) VALUES ('p', 'g', 'r@1', 'c@1', 7, 'final', 3, "
        "[('r0', 'a', 3, 'used', 0.5, '', '', 0.25, 1, 9, true, 'ok', 0, 2)], "
        "[('r0/a/s/0', 'r0', 'a', 'solver', 0.25, true, '', '', 0, 2, 7, 'noted')])"
    )
    assert "0010_add_credit_facts" in migrate.apply(empty)
    (held,) = GroupStore(empty, rule="r@1", credit="c@1").look_up([("p", "g")])
    (member,) = held.state.members.values()
    assert (member.reward.value, member.reward.dimensions) == (0.5, ())
    (call,) = member.calls
    assert (call.tokens, call.observed, call.reward) == (7, "noted", None)
    assert held.state.running == Running()
    assert empty.query("SELECT reward FROM samples") == [{"reward": None}]
