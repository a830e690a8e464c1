"""`headrace work`: run agents on the tasks of the stream."""

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.connectors.commands.command_line import words_of
from headrace.connectors.commands.errors import CommandUnusable
from headrace.connectors.privacy import Privacy
from headrace.connectors.privacy.logs import redact_logs
from headrace.connectors.runner import (
    AgentUnusable,
    CommandAgent,
    InputBy,
    Runner,
    check_agent,
    check_command,
)
from headrace.infra.cli.app import SETTINGS, WRONG_USE, app, fail
from headrace.infra.launch.private import OTHERS, keep_private
from headrace.infra.launch.runners import RunnerReport, runner_config, unrecorded
from headrace.infra.settings import load
from headrace.infra.terminal.live import LiveLine
from headrace.infra.terminal.log_lines import show_logs
from headrace.infra.terminal.working import Events, progress


@app.command()
def work(
    agent: Annotated[
        str | None, typer.Option(help="module:function to run instead of what the tasks name.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            help='Command to run instead, as "python agent.py {input}"; {model} and {rollout} '
            "are replaced too. No shell reads it."
        ),
    ] = None,
    input_by: Annotated[
        InputBy,
        typer.Option("--input", help="How the command is given the task (HEADRACE_TASK_INPUT)."),
    ] = "argument",
    isolate: Annotated[
        bool | None,
        typer.Option(
            "--isolate/--no-isolate",
            help="Each attempt of a function in a process of its own ([runner] isolate).",
            show_default=False,
        ),
    ] = None,
    memory_mb: Annotated[
        int | None, typer.Option(min=0, help="Memory of each process of an attempt; 0: no limit.")
    ] = None,
    cpu_s: Annotated[
        int | None, typer.Option(min=0, help="Processor time of each in seconds; 0: no limit.")
    ] = None,
    open_files: Annotated[
        int | None, typer.Option(min=0, help="Files that each may hold open; 0: no limit.")
    ] = None,
    max_processes: Annotated[
        int | None, typer.Option(min=0, help="Processes of an attempt at once; 0: no limit.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; default: [runner] processes.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Attempts at once in each process ([runner]), or at once where each is a process "
            "(8).",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="A JSON line for each attempt that ends, each pause, the end."),
    ] = False,
    name: Annotated[str, typer.Option(help="Tells several runners of one host apart.")] = "0",
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Take tasks from the stream and run their agents.

    An agent is `function(task_input, *, base_url, api_key)` in a few long-lived processes; its
    calls to base_url become the episode, and what it returns its result. Or it is a command
    (--command) that is run as `headrace run` does, a process for each attempt; its result is what
    it prints, or writes to the file HEADRACE_RESULT_FILE. Ctrl-C lets running attempts end. Exit
    code 2 if the agent cannot be run.
    """
    loaded = load(settings)
    if (trouble := unrecorded(loaded.privacy, "default")) is not None:
        fail(trouble, WRONG_USE)
    commanded = None
    if command is not None:
        commanded = _commanded(command, input_by)
    config = runner_config(
        loaded,
        agent=agent,
        command=commanded,
        processes=processes,
        concurrency=concurrency,
        isolate=isolate,
        memory_mb=memory_mb,
        cpu_s=cpu_s,
        open_files=open_files,
        max_processes=max_processes,
        name=name,
    )
    watched = Console(stderr=True)
    if agent is not None:
        _check(agent, watched)
    os.umask(OTHERS)
    keep_private(loaded.directory)
    show_logs(watched)
    redact_logs(Privacy(loaded.privacy))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    runner = Runner(config)
    with RunnerReport(runner, config, loaded.directory, name) as report, LiveLine(watched) as line:
        if as_json:
            _tell_events(runner, stop, report)
            return
        console = Console(highlight=False)
        console.print(f"working for {config.gateway_url}; Ctrl-C stops")

        def turn() -> None:
            report.turn()
            line.update(progress(runner, stopping=stop.is_set()))

        runner.run(stop, on_turn=turn)
    console.print(f"attempts: {runner.stats}")


def _tell_events(runner: Runner, stop: threading.Event, report: RunnerReport) -> None:
    events = Events(typer.echo)

    def turn() -> None:
        report.turn()
        events.turn(runner, stopping=stop.is_set())

    runner.run(
        stop,
        on_turn=turn,
        on_end=events.ended,
    )
    events.over(runner)


def _commanded(command: str, input_by: InputBy) -> CommandAgent:
    try:
        words = words_of(command)
        agent = CommandAgent(words=words, input=input_by)
        check_command(agent)
    except (CommandUnusable, AgentUnusable) as error:
        fail(str(error), WRONG_USE)
    return agent


def _check(agent: str, console: Console) -> None:
    with console.status(f"importing {agent}"):
        try:
            check_agent(agent)
        except AgentUnusable as error:
            trouble = str(error)
        else:
            return
    fail(trouble, WRONG_USE)
