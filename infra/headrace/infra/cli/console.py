"""`headrace console`: pages that show what stands in ClickHouse."""

import logging
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.http_server.listening import Server, listen
from headrace.infra.cli.app import NOT_RUNNING, SETTINGS, app, fail
from headrace.infra.console.app import application
from headrace.infra.settings import load

HOST = "127.0.0.1"


@app.command()
def console(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8090,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Show episodes, rewards and samples as pages on this machine. It only reads."""
    client = ClickHouse(load(settings).clickhouse_config)
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    try:
        listener = listen(HOST, port)
    except OSError as error:
        fail(f"port {port}: {error.strerror}. Give another with --port", NOT_RUNNING)
    listener.listen()  # who opens the address at once waits, and is not refused
    url = f"http://{HOST}:{port}/"
    typer.echo(f"console: {url}  (Ctrl-C ends it)")
    if show:
        webbrowser.open(url)
    config = uvicorn.Config(application(client), log_level="warning", timeout_graceful_shutdown=1)
    try:
        Server(config).run(sockets=[listener])
    finally:
        listener.close()
        client.close()
