"""`headrace down`: stop the parts of this data directory."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

from rich.console import Console

from headrace.infra.cli.app import NOT_RUNNING, app, fail
from headrace.infra.cli.up import POLL_SECONDS, SETTINGS
from headrace.infra.settings import load
from headrace.infra.supervise import read_status

STOP_SECONDS = 60.0


@app.command()
def down(settings: Annotated[Path | None, SETTINGS] = None) -> None:
    """Stop the parts that `headrace up` started from this data directory."""
    directory = load(settings).directory
    console = Console()
    status = read_status(directory)
    if status is None or not status.running:
        console.print(f"nothing runs in {directory}")
        return
    os.kill(status.pid, signal.SIGTERM)
    with console.status("stopping"):
        end = time.monotonic() + STOP_SECONDS
        while (now := read_status(directory)) is not None and now.running:
            if time.monotonic() > end:
                fail(f"process {status.pid} still runs after {STOP_SECONDS:.0f} s", NOT_RUNNING)
            time.sleep(POLL_SECONDS)
    console.print("stopped")
