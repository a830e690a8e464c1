"""`headrace status`: what runs, where, and how far it is."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from headrace.infra.cli.app import NOT_RUNNING, SETTINGS, app
from headrace.infra.parts import heartbeat_file, read_heartbeat
from headrace.infra.report import STYLES
from headrace.infra.settings import Settings, load
from headrace.infra.supervise import State, read_status


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Show every part: state, endpoint, restarts, and what the workers have done.

    Exit code 0 if every part is ready, 3 otherwise.
    """
    loaded = load(settings)
    parts = describe(loaded)
    if as_json:
        typer.echo(json.dumps({"parts": parts}, indent=1))
    else:
        _print(parts, loaded.directory)
    if not parts or any(part["state"] != State.READY.value for part in parts):
        raise typer.Exit(NOT_RUNNING)


def describe(settings: Settings) -> list[dict[str, Any]]:
    """The parts of the data directory as plain data; empty if none ever ran."""
    known = read_status(settings.directory)
    if known is None:
        return []
    return [
        {
            "name": part.name,
            "state": part.state.value,
            "endpoint": part.endpoint,
            "pid": part.pid,
            "restarts": part.restarts,
            "crashes": part.crashes,
            "message": part.message,
            "log": str(settings.directory / "logs" / f"{part.name}.log"),
            "work": dict(read_heartbeat(heartbeat_file(settings, part.name))),
        }
        for part in known.parts
    ]


def _print(parts: list[dict[str, Any]], directory: Path) -> None:
    console = Console()
    if not parts:
        console.print(f"nothing has been started in {directory}: `headrace up` does")
        return
    table = Table("part", "state", "endpoint", "restarts", "says", box=None, pad_edge=False)
    for part in parts:
        style = STYLES.get(State(part["state"]), "yellow")
        work = part["work"]
        counters = {
            **{key: work[key] for key in ("doing", "version") if key in work},
            **work.get("counters", {}),
        }
        says = work.get("waiting") or ", ".join(f"{k} {v}" for k, v in counters.items())
        table.add_row(
            part["name"],
            f"[{style}]{part['state']}[/]",
            part["endpoint"] or "",
            str(part["restarts"]),
            says or part["message"],
        )
    console.print(table)
