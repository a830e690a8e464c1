"""`headrace run`: an agent of any framework, as it is."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from headrace.connectors.commands.command import Command, leave_as
from headrace.connectors.commands.command_line import agent_name
from headrace.connectors.commands.environment import agent_environment
from headrace.connectors.commands.errors import CommandError, CommandUnusable
from headrace.connectors.commands.folder import AttemptFolder, Ended, Identity, make_folder
from headrace.connectors.commands.private import private_end, private_identity
from headrace.connectors.commands.results import how_ended, last_line, result_of
from headrace.connectors.instrument import names
from headrace.connectors.privacy import Privacy
from headrace.connectors.privacy.switches import hidden_by
from headrace.infra.cli.app import NOT_RUNNING, SETTINGS, WRONG_USE, app, fail
from headrace.infra.launch.watching import Told, Watcher, gateway_answers
from headrace.infra.settings import Settings, load
from headrace.schemas.errors import InvalidId
from headrace.schemas.ids import check_id, new_span_id, new_ulid
from headrace.schemas.vocabulary import SpanStatus, Split

NOT_FOUND = 127


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(help="The agent: python agent.py …")],
    project: Annotated[str, typer.Option(help="Project of the episode.")] = "default",
    rollout: Annotated[
        str | None, typer.Option(help="Rollout that this is an attempt at; else a new one.")
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="Name of the agent; default: that of its file.")
    ] = None,
    split: Annotated[Split, typer.Option(help="eval: shown, and never trained.")] = Split.TRAIN,
    gateway: Annotated[
        str | None, typer.Option(help="Gateway's URL instead of the settings'.")
    ] = None,
    no_gateway: Annotated[
        bool, typer.Option("--no-gateway", help="Leave model calls as they are; spans only.")
    ] = False,
    require: Annotated[
        bool, typer.Option("--require", help="Do not run if the gateway is not there.")
    ] = False,
    result_file: Annotated[
        Path | None,
        typer.Option(help="File with the result, instead of the last line of stdout."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No line about the episode at the end.")
    ] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Run an agent as it is: its calls and steps become spans.

    Its model calls go to the gateway. The command keeps its input, output, signals and exit
    code. It runs without headrace, too: then its model calls are left as they are, and what was
    seen waits on disk for the next start.
    """
    loaded = load(settings)
    url = None if no_gateway else _gateway(gateway or loaded.gateway_url, require)
    named = agent or agent_name(command)
    identity = replace(
        _identity(project, rollout, named, split, loaded), redirected=url is not None
    )
    privacy = Privacy(loaded.privacy, hidden_by(os.environ))
    try:
        folder = make_folder(
            loaded.directory / "spool" / "attempts", private_identity(identity, privacy)
        )
    except CommandError as error:
        fail(str(error), NOT_RUNNING)
    key = loaded.gateway.key_for(identity.project)
    named_agents = bool(loaded.agents.entries)
    environment = agent_environment(
        os.environ, folder, url, key, loaded.privacy, names_agents=named_agents
    )
    if result_file is not None:
        result_file.unlink(missing_ok=True)
        environment[names.RESULT_FILE] = str(result_file.absolute())
    code = _run(command, environment, folder, loaded, result_file, quiet)
    leave_as(code)


def _run(
    command: list[str],
    environment: dict[str, str],
    folder: AttemptFolder,
    settings: Settings,
    result_file: Path | None,
    quiet: bool,
) -> int:
    try:
        running = Command(command, environment, folder.lock)
    except CommandUnusable as error:
        folder.remove()
        fail(str(error), NOT_FOUND)
    watcher = Watcher(folder, settings)
    watcher.start()
    code = running.wait()
    result = _result(running, result_file or environment.get(names.RESULT_FILE))
    ended = Ended(
        status=SpanStatus.ERROR if code else SpanStatus.OK,
        result=result,
        at=time.time_ns(),
        how=how_ended(code) if code else "",
    )
    privacy = Privacy(settings.privacy, hidden_by(os.environ))
    ended = private_end(ended, folder.identity.project, privacy)
    told = watcher.finish(ended, {running.pid: how_ended(code)})
    _tell(folder, told, code, quiet=quiet)
    return code


def _gateway(url: str, require: bool) -> str | None:
    """The gateway's URL, if it answers."""
    if gateway_answers(url):
        return url
    if require:
        fail(f"no gateway answers at {url}: start it with `headrace up`", NOT_RUNNING)
    _say(
        f"no gateway answers at {url}: model calls go where they would go without headrace "
        "(start it with `headrace up`)"
    )
    return None


def _identity(
    project: str, rollout: str | None, agent: str, split: Split, settings: Settings
) -> Identity:
    try:
        check_id(project, "--project")
        rollout_id = check_id(rollout or new_ulid(), "--rollout")
    except InvalidId as error:
        fail(str(error), WRONG_USE)
    return Identity(
        project=project,
        rollout_id=rollout_id,
        attempt=new_ulid(),
        root=new_span_id(),
        end_id=new_span_id(),
        started_at=time.time_ns(),
        agent=agent,
        policy=settings.policy.name,
        split=split,
    )


def _result(running: Command, file: Path | str | None) -> str:
    if file is not None:
        try:
            return result_of(Path(file).read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return ""
        except OSError as error:
            _say(f"the result cannot be read: {error}")
            return ""
    return result_of(last_line(running.output))


def _tell(folder: AttemptFolder, told: Told, code: int, *, quiet: bool) -> None:
    for note in sorted(told.notes, key=lambda note: note.framework):
        _say(
            f"{note.framework}: only its model calls were seen; for its steps and tools "
            f"`pip install {note.package}`"
            if note.package
            else f"{note.framework}: its spans could not be switched on: {note.trouble}"
        )
    if told.no_headrace:
        _say(
            "the agent's Python has no headrace: only its model calls were seen; "
            "`pip install headrace` there"
        )
    if quiet:
        return
    where = {"kept": "kept on disk until Kafka answers", "spooled": "spooled until Kafka answers"}
    identity = folder.identity
    _say(
        f"rollout {identity.rollout_id}, attempt {identity.attempt}: {how_ended(code)}, "
        f"{told.spans} spans {where.get(told.durable, 'delivered')}"
        + (f", and those of {told.left_behind} attempts before it" if told.left_behind else "")
    )


def _say(text: str) -> None:
    sys.stderr.write(f"headrace: {text}\n")
