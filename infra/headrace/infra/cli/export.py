"""`headrace export transitions`: what agents did, as a file for any trainer."""

import json
import os
import time
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer
from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.cli.app import NO, SETTINGS, WRONG_USE, app, fail
from headrace.infra.cli.times import HOW, log_time
from headrace.infra.settings import load
from headrace.infra.terminal.live import LiveLine, bar
from headrace.streams.transitions import Wanted, count, read

export_app = typer.Typer(help="Write what headrace knows into a file.", no_args_is_help=True)
app.add_typer(export_app, name="export")


@export_app.callback()
def _verbs() -> None:
    # Without it typer takes an only verb for the whole command.
    return


@export_app.command("transitions")
def export_transitions(
    parquet: Annotated[Path, typer.Option(help="File to write; one that is there is replaced.")],
    policy: Annotated[str, typer.Option(help="Episodes of this policy alone.")] = "",
    since: Annotated[str, typer.Option(help=f"Episodes that ended since. {HOW}")] = "",
    project: Annotated[str, typer.Option(help="Project of the episodes.")] = "default",
    rule: Annotated[str, typer.Option(help="Rewards of this rule alone, name@version.")] = "",
    credit: Annotated[str, typer.Option(help="Advantages of this credit method alone.")] = "",
    tokens: Annotated[
        bool, typer.Option("--tokens", help="With token ids and log-probabilities.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Write calls and tool executions as (state, action, reward, next state), a row each.

    Of closed episodes, by rollout, attempt and step. Exit code 1 if there is none: then no file is
    written.
    """
    wanted = Wanted(
        project=project, policy=policy, since=log_time(since, "--since"), rule=rule,
        credit=credit, tokens=tokens,
    )  # fmt: skip
    config = load(settings).clickhouse_config
    client = ClickHouse(config)
    try:
        with LiveLine(Console(stderr=True)) as line:
            rows = _write(client, wanted, parquet, line)
    except OSError as error:
        fail(f"--parquet {parquet}: {error.strerror or error}", WRONG_USE)
    finally:
        client.close()
    if not rows:
        fail("no closed episode is like that: `headrace sql` shows those there are", NO)
    if as_json:
        typer.echo(json.dumps({"file": str(parquet), "rows": rows}))
    else:
        typer.echo(f"{rows:,} transitions in {parquet}, {parquet.stat().st_size / 1e6:.1f} MB")


def _write(client: ClickHouse, wanted: Wanted, file: Path, line: LiveLine) -> int:
    """The rows that were written; the file is there when it is complete."""
    total = count(client, wanted)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    began = time.monotonic()
    rows = 0
    writer = None
    try:
        for batch in read(client, wanted):
            if writer is None:
                writer = pq.ParquetWriter(unfinished, batch.schema, compression="zstd")
            writer.write_batch(batch)
            rows += batch.num_rows
            rate = rows / max(time.monotonic() - began, 1e-9)
            line.update(f"{bar(min(1.0, rows / total))}, {rows:,} rows, {rate:,.0f} a second")
        if writer is not None:
            writer.close()
            unfinished.replace(file)
    finally:
        if writer is not None:
            writer.close()
        unfinished.unlink(missing_ok=True)
    return rows
