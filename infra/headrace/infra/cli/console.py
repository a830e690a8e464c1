"""`headrace console`: pages that show what is in ClickHouse."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from headrace.infra.cli.app import NOT_RUNNING, SETTINGS, app, fail
from headrace.infra.console.serve import serve
from headrace.infra.settings import load


@app.command()
def console(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port on this machine; else that of [console]."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Show episodes, rewards and samples as pages on this machine. It only reads.

    `headrace up` serves them already; this is for a ClickHouse of which no parts run here.
    """

    def listening(url: str) -> None:
        typer.echo(f"console: {url}  (Ctrl-C ends it)")
        if show:
            webbrowser.open(url)

    loaded = load(settings)
    chosen = port or loaded.console.port
    try:
        serve(loaded, chosen, listening)
    except OSError as error:
        fail(
            f"port {chosen}: {error.strerror}. `headrace up` serves the console too; "
            "give another port with --port",
            NOT_RUNNING,
        )
