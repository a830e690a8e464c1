"""`headrace rebuild`: the derived tables again from the log."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.infra.cli.app import NO, SETTINGS, WRONG_USE, app, fail
from headrace.infra.launch.parts import STAGES
from headrace.infra.rebuild import Rebuilt
from headrace.infra.rebuild import rebuild as run_rebuild
from headrace.infra.rebuild.compare import DERIVED
from headrace.infra.settings import load
from headrace.infra.terminal.live import LiveLine, bar


@app.command()
def rebuild(
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it. Without it nothing but this is told.")
    ] = False,
    stage: Annotated[
        list[str] | None, typer.Option(help="Only the tables of this stage; may be given again.")
    ] = None,
    accept: Annotated[
        bool,
        typer.Option("--accept-differences", help="Put them in place though rows differ."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Make the derived tables again from the log, and compare them.

    headrace must be down: workers are to write nothing meanwhile. The tables stay as they are until
    the rebuilt ones are compared with them, row by row. A rebuild that was stopped is run again and
    goes on.
    Exit code 1: rows differ, and the tables were left as they were.
    """
    loaded = load(settings)
    stages = stage or list(STAGES)
    if strange := [name for name in stages if name not in STAGES]:
        fail(f"--stage {strange[0]}: give one of {', '.join(STAGES)}", WRONG_USE)
    if not yes:
        tables = ", ".join(one.name for name in stages for one in DERIVED[name])
        fail(
            f"this makes {tables} of database {loaded.clickhouse.database} again from the log and "
            "replaces them: give --yes to do it",
            WRONG_USE,
        )
    with LiveLine(Console(stderr=True)) as line:
        done = run_rebuild(
            loaded,
            stages=stages,
            accept=accept,
            on_event=lambda part, state, message: line.update(f"{part}: {message or state}"),
            progress=lambda read, total: line.update(
                f"{bar(read / total if total else 1.0)}, {read:,} of {total:,} records"
            ),
        )
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(done), "equal": done.equal}))
    else:
        _tell(done)
    if not done.replaced:
        raise typer.Exit(NO)


def _tell(done: Rebuilt) -> None:
    for one in done.tables:
        told = f"{one.table:<17}{one.rows:>12,} rows, hash {one.hash_was}"
        if one.hash_now != one.hash_was:
            told += f", rebuilt {one.hash_now}"
        for name in ("missing", "changed", "added"):
            if number := getattr(one, name):
                told += f", {number:,} {name}"
        typer.echo(told)
    if done.equal:
        typer.echo(f"rebuilt in {done.seconds:.0f} s: equal")
    elif done.replaced:
        typer.echo(f"rebuilt in {done.seconds:.0f} s: rows differ, and were replaced")
    else:
        typer.echo(
            f"rows differ: the tables stay as they are, the rebuilt ones are in {done.database}; "
            "--accept-differences puts them in place"
        )
