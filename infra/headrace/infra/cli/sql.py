"""`headrace sql`: ask ClickHouse, over its HTTP interface."""

import difflib
import json
import logging
import sys
import uuid
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected, ClickHouseUnavailable
from headrace.connectors.clickhouse.errors import StatementFailed
from headrace.connectors.clickhouse.saved import saved_queries
from headrace.connectors.clickhouse.sql import formatted
from headrace.connectors.clickhouse.values import plain
from headrace.infra.cli.app import NO, SETTINGS, WRONG_USE, app, fail
from headrace.infra.settings import load
from headrace.infra.terminal.encoding import read_stdin
from headrace.infra.terminal.rows import lines_of

_READONLY = 164  # ClickHouse's code of a refused write
_LIMITS = {
    159: "max_execution_time",
    241: "max_memory_usage",
    396: "max_result_rows or max_result_bytes",
}
# 2: nothing is written, and a query may still raise the limits by its own SETTINGS.
READER = {
    "readonly": 2,
    "max_execution_time": 60,
    "max_result_rows": 1_000_000,
    "max_result_bytes": 1 << 30,
    "max_memory_usage": 4 << 30,
}


@app.command()
def sql(
    query: Annotated[
        str,
        typer.Argument(
            help="The query, or @NAME of a saved one; `-` reads it from standard input."
        ),
    ] = "",
    given: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Value of {NAME:Type} in the query."),
    ] = None,
    list_saved: Annotated[
        bool, typer.Option("--list", help="Names the saved queries and their parameters.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object a row; NaN and infinity as null.")
    ] = False,
    vertical: Annotated[
        bool, typer.Option("--vertical", help="A line a value, as where a table does not fit.")
    ] = False,
    wide: Annotated[
        bool, typer.Option("--wide", help="A table with whole cells, whether it fits or not.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="The query may change tables, and has no limits.")
    ] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Run a query on headrace's tables and views (docs/sql.md)."""
    if list_saved:
        _list()
        return
    text, values = _asked(query, given or [])
    config = load(settings).clickhouse_config
    # The driver logs a line beside the exception that tells all.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    client = ClickHouse(config)
    query_id = f"headrace-sql-{uuid.uuid4()}"
    try:
        limits = None if write else READER
        if formatted(text):  # the reader wants it as the server writes it
            sys.stdout.buffer.write(client.query_text(text, values, limits, query_id))
            return
        rows = client.query(text, values, limits, query_id)
    except KeyboardInterrupt:
        client.cancel(query_id)
        raise
    except ClickHouseRejected as error:
        fail(_advised(error), NO)
    except ClickHouseUnavailable as error:
        if error.code in _LIMITS:  # nothing is away: the query asked for more than it may
            fail(_advised(error), NO)
        raise
    finally:
        client.close()
    if as_json:
        for row in rows:
            typer.echo(json.dumps(plain(row), default=str, allow_nan=False))
        return
    console = Console()
    width = console.width if console.is_terminal else None
    for line in lines_of(rows, width=width, vertical=vertical, whole=wide):
        console.file.write(f"{line}\n")  # as speak_utf8 has set it: no line may fail


def _advised(error: StatementFailed) -> str:
    """What the server said, and how a refused write or a reached limit is meant."""
    if error.code == _READONLY:
        return f"{error.said} Give --write if the query is to change tables"
    if error.code in _LIMITS:
        return f"{error.said} Narrow the query, or raise {_LIMITS[error.code]} in its SETTINGS"
    return error.said


def _list() -> None:
    for one in saved_queries().values():
        parameters = "".join(f" --param {n}={p.default}" for n, p in one.parameters.items())
        typer.echo(f"@{one.name}{parameters}\n    {one.about}")


def _asked(query: str, given: list[str]) -> tuple[str, dict[str, str]]:
    """The text of the query, and the values of its parameters."""
    values = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            fail(f"--param {each}: give NAME=VALUE", WRONG_USE)
        values[name] = value
    if not query:
        fail("give a query, @NAME of a saved one, or --list", WRONG_USE)
    if not query.startswith("@"):
        return _text(query), values
    saved = saved_queries().get(query[1:])
    if saved is None:
        near = difflib.get_close_matches(query[1:], saved_queries(), 3)
        said = f" Did you mean @{', @'.join(near)}?" if near else ""
        fail(f"no saved query is named {query}.{said} `headrace sql --list` names all", WRONG_USE)
    try:
        return saved.sql, saved.values(values)
    except ValueError as error:
        fail(str(error), WRONG_USE)


def _text(query: str) -> str:
    try:
        text = read_stdin() if query == "-" else query
        text.encode()  # bytes of an argument that are no UTF-8 come as lone surrogates
    except UnicodeError as error:
        fail(f"the query is not UTF-8: {error}", WRONG_USE)
    return text
