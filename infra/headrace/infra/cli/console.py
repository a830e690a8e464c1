"""`headrace console`: pages that show what is in ClickHouse; its verb `keys` says who may look."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from headrace.infra.cli.app import NOT_RUNNING, SETTINGS, WRONG_USE, app, fail
from headrace.infra.cli.console_keys import keys
from headrace.infra.console.serve import serve
from headrace.infra.settings import load

pages = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
pages.add_typer(keys, name="keys", help="Who may look at the console: add, list, remove keys.")
app.add_typer(pages, name="console")


@pages.callback()
def console(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Its port; else that of [console].")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address it listens on; beyond 127.0.0.1 it wants keys."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Show episodes, rewards and samples as pages.

    `headrace up` serves them already; this is for a ClickHouse of which no parts run here.
    """
    if context.invoked_subcommand is not None:
        if settings or port or host or show:
            verb = context.invoked_subcommand
            fail(f"options of the console do nothing before {verb}: give them behind", WRONG_USE)
        return

    def listening(url: str) -> None:
        typer.echo(f"console: {url}  (Ctrl-C ends it)")
        if show:
            webbrowser.open(url)

    asked = {"port": port, "host": host}
    given = {name: value for name, value in asked.items() if value is not None}
    loaded = load(settings, overrides={"console": given})
    try:
        serve(loaded, listening)
    except OSError as error:
        fail(
            f"port {loaded.console.port}: {error.strerror}. `headrace up` serves the console too; "
            "give another port with --port",
            NOT_RUNNING,
        )
