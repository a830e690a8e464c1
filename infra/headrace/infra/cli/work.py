"""`headrace work`: run agents on the tasks of the stream."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.infra.cli.app import SETTINGS, app
from headrace.infra.runner import Runner
from headrace.infra.settings import load
from headrace.infra.work import runner_config


@app.command()
def work(
    agent: Annotated[
        str | None, typer.Option(help="module:function to run instead of what the tasks name.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    concurrency: Annotated[int, typer.Option(min=1, help="Attempts at once in each.")] = 48,
    name: Annotated[str, typer.Option(help="Tells several runners of one host apart.")] = "0",
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Take tasks from the stream and run their agents in a few long-lived processes.

    An agent is `function(task_input, *, base_url, api_key)`; its calls to base_url become the
    episode, and what it returns its result. Ctrl-C lets running attempts end.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    config = runner_config(
        load(settings), agent=agent, processes=processes, concurrency=concurrency, name=name
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    runner = Runner(config)
    console = Console()
    console.print(f"working for {config.gateway_url}; Ctrl-C stops", highlight=False)
    runner.run(stop)
    console.print(f"{runner.stats}", highlight=False)
