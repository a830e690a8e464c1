"""The user that only reads: as a real server would take it, and as the embedded engine cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected
from headrace.connectors.clickhouse.migrate import split
from headrace.infra.cli.sql import READER

STATEMENTS = split((Path(__file__).parents[3] / "infra/clickhouse/reader.sql").read_text())
_NOT_GRANTED = 497


def test_the_engine_understands_each_statement(client: ClickHouse) -> None:
    assert len(STATEMENTS) == 3
    for statement in STATEMENTS:
        (row,) = client.query("SELECT formatQuery({sql:String}) AS sql", {"sql": statement})
        assert "headrace_reader" in str(row["sql"])


def test_its_limits_are_those_of_the_command(client: ClickHouse) -> None:
    (row,) = client.query("SELECT formatQuery({sql:String}) AS sql", {"sql": STATEMENTS[0]})
    for name, value in READER.items():
        assert f"{name} = {value} " in f"{row['sql']} ", name


def test_the_embedded_engine_has_no_users(client: ClickHouse) -> None:
    with pytest.raises(ClickHouseRejected) as refused:
        client.command(STATEMENTS[1])
    assert refused.value.code == _NOT_GRANTED
