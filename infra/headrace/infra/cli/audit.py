"""`headrace audit`: whether anything was lost or doubled."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.infra.audit import audit as run_audit
from headrace.infra.audit.told import SHOWN, lines
from headrace.infra.cli.app import NO, SETTINGS, app
from headrace.infra.settings import load
from headrace.infra.terminal.live import LiveLine
from headrace.schemas.topics import StageGroup


@app.command()
def audit(
    project: Annotated[
        str | None, typer.Option(help="Compare this project alone, instead of all.")
    ] = None,
    assemble_group: Annotated[
        str, typer.Option(help="Consumer group of the assemble stage.")
    ] = StageGroup.ASSEMBLE.value,
    credit_group: Annotated[
        str, typer.Option(help="Consumer group of the credit stage.")
    ] = StageGroup.CREDIT.value,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Compare the log with ClickHouse, span by span and in counts.

    Reads what the assemble stage has acknowledged of `headrace.spans`, while everything goes on.
    Exit code 1 if anything was lost, doubled or miscounted; the first differences are shown.
    """
    loaded = load(settings)
    with LiveLine(Console(stderr=True)) as line:
        found = run_audit(
            loaded,
            project=project,
            groups=(assemble_group, credit_group),
            progress=lambda done, total: line.update(f"{done:,} of {total:,} records read"),
        )
    if as_json:
        report = dataclasses.asdict(found) | {"clean": found.clean}
        report["differences"] = report["differences"][:SHOWN]
        typer.echo(json.dumps(report, indent=1))
    else:
        typer.echo("\n".join(lines(found)))
    if not found.clean:
        raise typer.Exit(NO)
