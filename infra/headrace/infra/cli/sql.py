"""`headrace sql`: ask ClickHouse, over its HTTP interface."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected, ClickHouseUnavailable
from headrace.infra.cli.app import NO, NOT_RUNNING, SETTINGS, app, fail
from headrace.infra.parts import clickhouse_config
from headrace.infra.settings import load


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="The query; `-` reads it from standard input.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Rows as JSON objects, one a line.")
    ] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Run a query on the tables and views of headrace (docs/sql.md lists them)."""
    text = sys.stdin.read() if query == "-" else query
    config = clickhouse_config(load(settings))
    try:
        client = ClickHouse(config)
        rows = client.query(text)
    except ClickHouseRejected as error:
        fail(str(error), NO)
    except ClickHouseUnavailable as error:
        fail(f"{error}. Is headrace up? `headrace status` tells", NOT_RUNNING)
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, default=str))
        return
    table = Table(*(rows[0] if rows else ("no rows",)), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else _cell(value) for value in row.values()))
    Console().print(table)


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
