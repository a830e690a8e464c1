"""The tables as data are the live tables, and what is inserted in their layout comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.connectors.clickhouse import ClickHouse, migrate
from headrace.connectors.clickhouse.tables import TABLES, schema_of, spans_schema
from headrace.infra.embedded.models import tiny_llama
from headrace.infra.launch.vocabulary import fill_vocabulary
from tests.integration.clickhouse.server_process import Server


@pytest.fixture(scope="module")
def migrated(server: Server) -> Iterator[ClickHouse]:
    client = server.client(database="tables")
    migrate.apply(client)
    yield client
    client.close()


def flat(kind: str) -> str:
    """A type in one line: ClickHouse breaks tuples."""
    return re.sub(r"\(\s+", "(", re.sub(r"\s+", " ", kind))


def test_every_table_is_declared_as_it_is_live(migrated: ClickHouse) -> None:
    views = {
        str(row["name"])
        for row in migrated.query(
            "SELECT name FROM system.tables WHERE database = 'tables' AND engine = 'View'"
        )
    }
    live = migrate.live_schema(migrated)
    assert {name: list(columns.items()) for name, columns in TABLES.items()} == {
        name: [(column, flat(kind)) for column, kind in columns.items()]
        for name, columns in live.items()
        if name not in views
    }


def test_every_column_says_what_it_is(migrated: ClickHouse) -> None:
    silent = migrated.query(
        "SELECT table, name FROM system.columns WHERE database = 'tables' AND comment = '' "
        f"AND table != '{migrate.TABLE}'"
    )
    assert silent == []
    # The engine knows no columns of a view that takes parameters: the view itself says them.
    assert migrated.query(
        "SELECT name FROM system.tables WHERE database = 'tables' AND comment = '' "
        "AND notEmpty(parameterized_view_parameters)"
    ) == []  # fmt: skip


def test_log_times_are_times_too(migrated: ClickHouse) -> None:
    beside = {"log_time": "logged_at", "log_first": "first_at", "log_last": "last_at"}
    of = {
        (str(row["table"]), str(row["name"])): str(row["type"])
        for row in migrated.query(
            "SELECT table, name, type FROM system.columns WHERE database = 'tables' "
            "AND default_kind = 'ALIAS'"
        )
    }
    assert of == {
        (table, beside[column]): "DateTime64(3, 'UTC')"
        for table, columns in TABLES.items()
        for column in columns
        if column in beside
    }
    migrated.command("INSERT INTO drops (topic, log_time) VALUES ('aliased', 1500)")
    told = migrated.query("SELECT toString(logged_at) AS at FROM drops WHERE topic = 'aliased'")
    migrated.command("TRUNCATE TABLE drops")
    assert told == [{"at": "1970-01-01 00:00:01.500"}]


def value_of(kind: pa.DataType) -> object:
    if pa.types.is_timestamp(kind):
        return datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return "ä"
    if pa.types.is_map(kind):
        return [("a", value_of(kind.item_type))]
    if pa.types.is_list(kind):
        return [value_of(kind.value_type)]
    if pa.types.is_struct(kind):
        return {part.name: value_of(part.type) for part in kind}
    return {pa.bool_(): True, pa.float32(): 0.5, pa.float64(): 0.25}.get(kind, 7)


@pytest.mark.parametrize("table", TABLES)
def test_a_row_in_the_declared_layout_comes_back_as_it_went_in(
    migrated: ClickHouse, table: str
) -> None:
    schema = schema_of(table)
    row = {field.name: value_of(field.type) for field in schema}
    layout = spans_schema() if table == "spans" else schema
    assert migrated.insert_arrow(table, pa.Table.from_pylist([row], layout)) == 1
    back = migrated.query_arrow(f"SELECT {', '.join(schema.names)} FROM {table} FINAL")
    assert back.schema.equals(schema)
    assert back.to_pylist() == [row]


def test_the_view_of_calls_says_whose_a_call_is_as_its_episode_does(migrated: ClickHouse) -> None:
    columns = "project, rollout_id, attempt, span_id, kind, agent, parent_id, ver"
    migrated.command(
        f"INSERT INTO spans ({columns}) VALUES ('default', 'view', 'a', '01', 'call', '', '', 0), "
        "('default', 'view', 'a', '02', 'call', 'named', '', 0), "
        "('default', 'view', 'a', '03', 'call.context', 'solver', '04', 0)"
    )
    migrated.command(
        "INSERT INTO episodes (project, rollout_id, attempt, version, contexts) VALUES "
        "('default', 'view', 'a', 2, [('01', 'other', '')]), "
        "('default', 'view', 'a', 3, [('01', 'solver', '04')])"
    )
    rows = migrated.query(
        "SELECT span_id, agent, parent_id, call_id FROM calls WHERE rollout_id = 'view' "
        "ORDER BY span_id"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("01", "solver", "04", "view/a/01"),
        ("02", "named", "", "view/a/02"),
    ]


def test_a_policy_s_tokens_have_their_texts_in_sql(migrated: ClickHouse, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    model = tiny_llama(tmp_path)
    assert fill_vocabulary(migrated, "tiny", model) == 288
    assert fill_vocabulary(migrated, "tiny", model) == 0  # it stands
    text = "Answer: 🦦 zwölf"
    ids = AutoTokenizer.from_pretrained(model).encode(text, add_special_tokens=False)
    migrated.command(
        "INSERT INTO spans (rollout_id, kind, policy, sampled_ids, ver) VALUES "
        f"('told', 'call', 'tiny', {list(ids)}, 0)"
    )
    (joined,) = migrated.query(
        "SELECT unhex(arrayStringConcat(groupArray(bytes_hex))) AS text FROM "
        "(SELECT * FROM tokens WHERE rollout_id = 'told' ORDER BY position)"
    )
    assert joined["text"] == text


def test_a_tokenizer_without_bytes_is_told_and_stops_nothing(
    migrated: ClickHouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert fill_vocabulary(migrated, "other", tmp_path) == 0
    assert "other" in caplog.text
