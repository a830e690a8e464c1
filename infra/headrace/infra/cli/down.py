"""`headrace down`: stop the parts of this data directory."""

from pathlib import Path
from typing import Annotated

from rich.console import Console

from headrace.infra.cli.app import SETTINGS, app
from headrace.infra.launch import background
from headrace.infra.settings import load


@app.command()
def down(settings: Annotated[Path | None, SETTINGS] = None) -> None:
    """Stop the parts that `headrace up` started here.

    Here: from this data directory."""
    directory = load(settings).directory
    console = Console()
    with console.status("stopping"):
        stopped = background.stop(directory)
    console.print("stopped" if stopped else f"nothing runs in {directory}")
