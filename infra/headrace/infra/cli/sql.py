"""`headrace sql`: ask ClickHouse, over its HTTP interface."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected, ClickHouseUnavailable
from headrace.connectors.clickhouse.errors import StatementFailed
from headrace.connectors.clickhouse.values import plain
from headrace.infra.cli.app import NO, NOT_RUNNING, SETTINGS, WRONG_USE, app, fail
from headrace.infra.settings import load
from headrace.infra.terminal.encoding import read_stdin

_READONLY = 164  # ClickHouse's code of a refused write
_LIMITS = {
    159: "max_execution_time",
    241: "max_memory_usage",
    396: "max_result_rows or max_result_bytes",
}
# 2: nothing is written, and a query may still raise the limits by its own SETTINGS.
_READER = {
    "readonly": 2,
    "max_execution_time": 60,
    "max_result_rows": 1_000_000,
    "max_result_bytes": 1 << 30,
    "max_memory_usage": 4 << 30,
}


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="The query; `-` reads it from standard input.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object a row; NaN and infinity as null.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="The query may change tables, and has no limits.")
    ] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Run a query on the tables and views of headrace (docs/sql.md lists them)."""
    text = _text(query)
    config = load(settings).clickhouse_config
    # The driver logs a line beside the exception that tells all.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    client = ClickHouse(config)
    try:
        rows = client.query(text, settings=None if write else _READER)
    except ClickHouseRejected as error:
        fail(_advised(error), NO)
    except ClickHouseUnavailable as error:
        if error.code in _LIMITS:  # nothing is away: the query asked for more than it may
            fail(_advised(error), NO)
        fail(
            f"{config.url}: {error.said}. Is headrace up? Check with `headrace status`", NOT_RUNNING
        )
    finally:
        client.close()
    if as_json:
        for row in rows:
            typer.echo(json.dumps(plain(row), default=str, allow_nan=False))
        return
    table = Table(*(rows[0] if rows else ("no rows",)), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else _cell(value) for value in row.values()))
    Console().print(table)


def _advised(error: StatementFailed) -> str:
    """What the server said, and how a refused write or a reached limit is meant."""
    if error.code == _READONLY:
        return f"{error.said} Give --write if the query is to change tables"
    if error.code in _LIMITS:
        return f"{error.said} Narrow the query, or raise {_LIMITS[error.code]} in its SETTINGS"
    return error.said


def _text(query: str) -> str:
    try:
        text = read_stdin() if query == "-" else query
        text.encode()  # bytes of an argument that are no UTF-8 come as lone surrogates
    except UnicodeError as error:
        fail(f"the query is not UTF-8: {error}", WRONG_USE)
    return text


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
