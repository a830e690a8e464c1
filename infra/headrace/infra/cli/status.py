"""`headrace status`: what runs, where, and how far it is."""

import dataclasses
import json
import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected, ClickHouseUnavailable
from headrace.connectors.privacy.summary import summary
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.cli.app import NO, NOT_RUNNING, SETTINGS, app
from headrace.infra.errors import LogUnavailable
from headrace.infra.launch.behind import Behind, behind, set_aside
from headrace.infra.launch.halted import halted_partitions
from headrace.infra.launch.parts import arithmetic, heartbeat_file
from headrace.infra.launch.untrained import UntrainedPolicy, untrained_policies
from headrace.infra.settings import Settings, load
from headrace.infra.supervise import State, read_status
from headrace.infra.terminal.report import STYLES

_READY = State.READY.value


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Show every part: its state, its work and how far behind it is.

    Endpoints and restarts, dead letters, what is halted, and which policy its last groups taught
    nothing, too.

    Exit code 0 if every part is ready, 3 otherwise; 1 if all are ready and a partition is halted.
    """
    loaded = load(settings)
    parts = describe(loaded)
    letters = add_lags(loaded, parts)
    halted = halts(loaded, parts)
    chosen = arithmetic(loaded)
    teaching_nothing = untrained(loaded, parts)
    said = summary(loaded.privacy, os.environ)
    if as_json:
        report = {
            "parts": parts,
            "halted": halted,
            "dead_letters": letters,
            "arithmetic": dataclasses.asdict(chosen),
            "untrained": [dataclasses.asdict(one) for one in teaching_nothing],
            "privacy": {"capture": loaded.privacy.capture, "said": said},
        }
        typer.echo(json.dumps(report, indent=1))
    else:
        _print(parts, loaded.directory)
        if any(part["name"] == "gateway" for part in parts):
            typer.echo(f"\nengine and trainer calculate in {chosen.dtype}: {chosen.reason}")
            typer.echo(f"privacy: {said}")
        _print_letters(letters)
        _print_halted(halted)
        for one in teaching_nothing:
            typer.echo(f"\n{one.policy}: {one.message}")
    if not parts or any(part["state"] != _READY for part in parts):
        raise typer.Exit(NOT_RUNNING)
    if halted:
        raise typer.Exit(NO)


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
            "silent_s": part.silent_s,
            "log": str(settings.directory / "logs" / f"{part.name}.log"),
            "work": dict(read_heartbeat(heartbeat_file(settings, part.name))),
        }
        for part in known.parts
    ]


def add_lags(settings: Settings, parts: list[dict[str, Any]]) -> dict[str, int]:
    """Add to the parts how far they are behind; gives the depths of dead-letter topics.

    Nothing while the broker is not ready.
    """
    states = {part["name"]: part["state"] for part in parts}
    if not parts or states.get("kafka", _READY) != _READY:
        return {}
    lags = behind(settings)
    for part in parts:
        part["lag"] = lags.get(part["name"]) if part["state"] == _READY else None
    return set_aside(settings)


def halts(settings: Settings, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The halted partitions: as the log has them, or as the workers last said if it is away."""
    states = {part["name"]: part["state"] for part in parts}
    if not parts or any(states.get(name, _READY) != _READY for name in ("kafka", "registry")):
        return _last_said(parts)
    try:
        return [dataclasses.asdict(halt) for halt in halted_partitions(settings)]
    except LogUnavailable:
        return _last_said(parts)


def untrained(settings: Settings, parts: list[dict[str, Any]]) -> list[UntrainedPolicy]:
    """The policies whose last groups taught nothing; none if ClickHouse cannot be asked."""
    states = {part["name"]: part["state"] for part in parts}
    if not parts or states.get("clickhouse", _READY) != _READY:
        return []
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    client = ClickHouse(settings.clickhouse_config)
    try:
        return untrained_policies(client, settings)
    except (ClickHouseUnavailable, ClickHouseRejected):
        return []
    finally:
        client.close()


def _last_said(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [halt for part in parts for halt in part["work"].get("halted", ())]


def _print_letters(letters: dict[str, int]) -> None:
    for topic, number in letters.items():
        typer.echo(f"\n{topic}: {number:,} dead letters; `headrace dlq list` shows them")


def _print_halted(halted: list[dict[str, Any]]) -> None:
    if not halted:
        return
    console = Console(highlight=False)
    console.print()
    for halt in halted:
        console.print(
            f"[red]halted[/] {halt['stage']}: {halt['topic']}/{halt['partition']} at offset "
            f"{halt['offset']}: {escape(halt['message'])}",
            soft_wrap=True,
        )
    console.print("`headrace resume` lets them go on.")


def _print(parts: list[dict[str, Any]], directory: Path) -> None:
    console = Console(highlight=False)
    if not parts:
        console.print(
            f"nothing has been started in {directory}: `headrace up` does", soft_wrap=True
        )
        return
    table = Table("part", "state", "restarts", "endpoint or work", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for part in parts:
        style = STYLES.get(State(part["state"]), "yellow")
        table.add_row(
            part["name"],
            f"[{style}]{part['state']}[/]",
            str(part["restarts"]),
            escape(_detail(part)),
        )
    console.print(table)
    if all(part["state"] == State.STOPPED.value for part in parts):
        console.print(f"\nnothing runs in {directory}: `headrace up`", soft_wrap=True)


def _detail(part: dict[str, Any]) -> str:
    """Where a part is and what it does, as far as that is so now."""
    if part["state"] == State.STOPPED.value:
        return ""  # what its worker last said is of another life
    if part["state"] != _READY:
        return str(part["message"])
    work = part["work"]
    counted = work.get("counters", {})
    parts = [
        part["endpoint"] or "",
        f"version {work['version']}" if "version" in work else "",
        work.get("waiting") or work.get("doing", ""),
        str(Behind(**part["lag"])) if part.get("lag") else "",
        ", ".join(f"{name} {count}" for name, count in counted.items() if count),
    ]
    return "; ".join(filter(None, parts))
