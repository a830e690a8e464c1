"""Every SQL query in README and docs runs on the real engine, on the real tables and views."""

from typing import TYPE_CHECKING

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from tests.docs.blocks import queries

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack


def test_every_documented_query_runs(stack: "Stack") -> None:
    asked = queries()
    assert len(asked) > 10
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database="headrace_docs"))
    try:
        client.ensure_database()
        migrate.apply(client)
        for _, query in asked:
            client.query(query.split(" FORMAT ")[0])
    finally:
        client.command("DROP DATABASE IF EXISTS headrace_docs")
        client.close()
