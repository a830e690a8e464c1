"""`headrace resume`: let halted partitions go on."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.connectors.kafka import LOG_LOST
from headrace.infra.cli.app import NO, SETTINGS, app
from headrace.infra.launch.halted import halted_partitions
from headrace.infra.launch.halted import resume as let_go_on
from headrace.infra.settings import load
from headrace.schemas import Halt


@app.command()
def resume(
    partitions: Annotated[
        list[str] | None,
        typer.Argument(help="As headrace.spans/3; all halted ones if none is given."),
    ] = None,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Go on too where the log has lost records; the range is recorded in `drops`.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Let halted partitions go on (`headrace status` shows them).

    After too many unreadable records the count begins again at 0. Where the log no longer holds
    what comes next, nothing is resumed without --accept-loss. The workers go on by themselves
    within seconds. Exit code 1 if a partition stays halted, or a named one is not halted.
    """
    loaded = load(settings)
    halted = halted_partitions(loaded)
    wanted = [halt for halt in halted if not partitions or place(halt) in partitions]
    unknown = sorted(set(partitions or ()) - {place(halt) for halt in halted})
    ready = [halt for halt in wanted if accept_loss or halt.reason != LOG_LOST]
    resumed = let_go_on(loaded, ready) if ready else []
    left = [halt for halt in wanted if halt not in ready]
    if as_json:
        answer = {
            "resumed": [dataclasses.asdict(halt) for halt in resumed],
            "halted": [dataclasses.asdict(halt) for halt in left],
            "not_halted": unknown,
        }
        typer.echo(json.dumps(answer, indent=1))
    else:
        _tell(resumed, left, unknown, nothing=not halted)
    if left or unknown:
        raise typer.Exit(NO)


def place(halt: Halt) -> str:
    """Topic and partition, as they are written on the command line."""
    return f"{halt.topic}/{halt.partition}"


def _tell(resumed: list[Halt], left: list[Halt], unknown: list[str], *, nothing: bool) -> None:
    console = Console(highlight=False)
    for halt in resumed:
        lost = halt.end - halt.offset
        given_up = f"; offsets {halt.offset} to {halt.end - 1} are given up" if lost else ""
        console.print(f"{halt.stage}: {place(halt)} goes on at offset {halt.end}{given_up}")
    for halt in left:
        console.print(f"{halt.stage}: {place(halt)} stays halted: {halt.message}", soft_wrap=True)
    if left:
        console.print("To give these records up and go on: headrace resume --accept-loss")
    for name in unknown:
        console.print(f"{name} is not halted")
    if nothing:
        console.print("no partition is halted")
