"""`headrace up`: start every part and keep it running."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.infra.cli.app import SETTINGS, app
from headrace.infra.errors import AlreadyRunning
from headrace.infra.launch import background
from headrace.infra.launch.running import check_ports, check_rule, fetch, running
from headrace.infra.settings import Settings, load
from headrace.infra.supervise import State, Status, read_status


@app.command()
def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the parts running in the background.")
    ] = False,
    trainer: Annotated[
        bool,
        typer.Option(help="Start the trainer too; without it the base weights are served."),
    ] = True,
    pages: Annotated[
        bool, typer.Option("--console/--no-console", help="Serve the console's pages too.")
    ] = True,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Start every part: Kafka, ClickHouse, workers, trainer, gateway.

    The schema registry and the console, too. Creates topics, registers schemas and applies
    migrations; waits until each part is healthy and says what it is waiting for. Without
    --detach the parts stop with Ctrl-C. Where headrace already runs, --detach has nothing to do
    if every part is ready (exit code 0: scripts may call it at each start); else, and without
    --detach, the exit code is 3.
    """
    loaded = load(settings, overrides=None if pages else {"console": {"enabled": False}})
    console = Console()
    known = read_status(loaded.directory)
    if known is not None and known.running:
        _leave_it(console, known, loaded.directory, detach=detach)
        return
    if loaded.console.enabled:
        from headrace.infra.console.keys import door_of  # here: other verbs start faster

        door_of(loaded)  # refused before anything is started
    if detach:
        check_rule(loaded)
        check_ports(loaded)
        fetch(loaded, console)
        background.start(console, loaded.directory, settings=settings, trainer=trainer, pages=pages)
        console.print(
            f"headrace is up in the background.{_look(loaded)} `headrace down` stops it.",
            soft_wrap=True,
        )
        return
    # As Ctrl-C, so that a start that still waits for a part ends too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running(loaded, console=console, trainer=trainer):
        console.print(
            f"headrace is up. Agents: {loaded.gateway_url}/v1 ·{_look(loaded)} Ctrl-C stops it.",
            soft_wrap=True,
        )
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            console.print("stopping")


def _look(settings: Settings) -> str:
    return f" Console: {settings.console.url} ·" if settings.console.enabled else ""


def _leave_it(console: Console, known: Status, directory: Path, *, detach: bool) -> None:
    """Say that headrace runs; raises AlreadyRunning unless that is all that was asked for."""
    late = [part.name for part in known.parts if part.state is not State.READY]
    how = f" ({', '.join(late)} not ready)" if late else ""
    if late or not detach:
        raise AlreadyRunning(
            f"already running in {directory}{how}: `headrace status` shows it, "
            "`headrace down` stops it"
        )
    console.print(
        f"headrace already runs in {directory}. Settings that were changed since wait for "
        "`headrace down` and up.",
        soft_wrap=True,
    )
