"""`headrace up`: start every part and keep it running."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.infra import background
from headrace.infra.cli.app import SETTINGS, app
from headrace.infra.running import check_ports, fetch, running
from headrace.infra.settings import load


@app.command()
def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the parts running in the background.")
    ] = False,
    trainer: Annotated[bool, typer.Option(help="Start the trainer too.")] = True,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Start Kafka, registry, ClickHouse, stream workers, trainer and gateway.

    Creates topics, registers schemas and applies migrations; waits until each part is healthy and
    says what it is waiting for. Without --detach the parts stop with Ctrl-C.
    """
    loaded = load(settings)
    console = Console()
    if detach:
        check_ports(loaded)
        fetch(loaded, console)
        background.start(console, loaded.directory, settings=settings, trainer=trainer)
        console.print("headrace is up in the background. `headrace down` stops it.")
        return
    # As Ctrl-C, so that a start that still waits for a part ends too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running(loaded, console=console, trainer=trainer):
        console.print(f"headrace is up. Agents: {loaded.gateway_url}/v1 · Ctrl-C stops it.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            console.print("stopping")
