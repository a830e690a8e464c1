"""`headrace up`: start every part and keep it running."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.infra.cli.app import app
from headrace.infra.errors import PartFailed
from headrace.infra.report import PartLines
from headrace.infra.running import running
from headrace.infra.settings import load
from headrace.infra.supervise import State, read_status

SETTINGS = typer.Option("--settings", help="Settings file instead of ./headrace.toml.")
POLL_SECONDS = 0.2


@app.command()
def up(
    detach: Annotated[
        bool, typer.Option(help="Leave the parts running in the background.")
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
        _start_in_background(console, loaded.directory, settings, trainer)
        return
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with running(loaded, console=console, trainer=trainer):
        console.print(f"headrace is up. Agents: {loaded.gateway_url}/v1 · Ctrl-C stops it.")
        try:
            while not stop.wait(POLL_SECONDS):
                pass
        except KeyboardInterrupt:
            console.print("stopping")


def _start_in_background(
    console: Console, directory: Path, settings: Path | None, trainer: bool
) -> None:
    command = [sys.executable, "-P", "-m", "headrace.infra.cli", "up"]
    command += ["--trainer" if trainer else "--no-trainer"]
    command += ["--settings", str(settings)] if settings else []
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    lines: PartLines | None = None
    while True:
        status = read_status(directory)
        if status is not None and status.pid == process.pid:
            lines = lines or PartLines(console, {p.name: p.endpoint for p in status.parts})
            for part in status.parts:
                lines(part.name, part.state, part.message)
            if all(part.state is State.READY for part in status.parts):
                console.print("headrace is up in the background. `headrace down` stops it.")
                return
        if process.poll() is not None:
            raise PartFailed(
                "up",
                f"ended with code {process.returncode}; its output is in {log}",
                tuple(log.read_text(errors="replace").splitlines()[-8:]),
            )
        time.sleep(POLL_SECONDS)
