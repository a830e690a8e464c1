"""`headrace work`: run agents on the tasks of the stream."""

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.connectors.runner import AgentUnusable, Runner, check_agent
from headrace.infra.cli.app import SETTINGS, WRONG_USE, app, fail
from headrace.infra.launch.private import OTHERS, keep_private
from headrace.infra.launch.runners import runner_config
from headrace.infra.settings import load
from headrace.infra.terminal.live import LiveLine
from headrace.infra.terminal.log_lines import show_logs


@app.command()
def work(
    agent: Annotated[
        str | None, typer.Option(help="module:function to run instead of what the tasks name.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; default: [runner] processes.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Attempts at once in each; default: [runner].")
    ] = None,
    name: Annotated[str, typer.Option(help="Tells several runners of one host apart.")] = "0",
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Take tasks from the stream and run their agents in a few long-lived processes.

    An agent is `function(task_input, *, base_url, api_key)`; its calls to base_url become the
    episode, and what it returns its result. Ctrl-C lets running attempts end. Exit code 2 if the
    agent that --agent names cannot be run.
    """
    loaded = load(settings)
    config = runner_config(
        loaded, agent=agent, processes=processes, concurrency=concurrency, name=name
    )
    watched = Console(stderr=True)
    if agent is not None:
        _check(agent, watched)
    os.umask(OTHERS)
    keep_private(loaded.directory)
    show_logs(watched)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    runner = Runner(config)
    console = Console(highlight=False)
    console.print(f"working for {config.gateway_url}; Ctrl-C stops")
    with LiveLine(watched) as line:
        runner.run(stop, on_turn=lambda: line.update(progress(runner, stopping=stop.is_set())))
    console.print(f"attempts: {runner.stats}")


def progress(runner: Runner, *, stopping: bool) -> str:
    """What a runner does, in a line."""
    told = [f"attempts: {runner.stats}", f"{runner.running} running"]
    if stopping:
        told.append("stopping")
    elif runner.away:
        told.append("waiting for Kafka")
    elif runner.resting:
        told.append("paused: every attempt fails")
    elif not runner.running:
        told.append("waiting for tasks")
    return "; ".join(told)


def _check(agent: str, console: Console) -> None:
    with console.status(f"importing {agent}"):
        try:
            check_agent(agent)
        except AgentUnusable as error:
            trouble = str(error)
        else:
            return
    fail(trouble, WRONG_USE)
