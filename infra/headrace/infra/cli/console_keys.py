"""`headrace console keys`: who may look at the console."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from headrace.infra.cli.app import NO, SETTINGS, fail
from headrace.infra.console.keys import KeyFile
from headrace.infra.console.roles import Role
from headrace.infra.settings import load
from headrace.infra.terminal.rows import lines_of

keys = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
NAME = typer.Argument(help="Whose key it is, in a word.")


@keys.command()
def add(
    name: Annotated[str, NAME],
    role: Annotated[
        Role,
        typer.Option(
            help="metrics: figures without texts; viewer: every page; annotator: feedback too; "
            "sql: questions of their own too."
        ),
    ] = Role.VIEWER,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Make a key and print it, this once: only its digest is kept. A console that runs heeds it
    at once, and once there is a key, nobody comes in without one.
    """
    file = _file(settings)
    key = file.add(name, role)
    typer.echo(key)
    typer.echo(f"the key of {name} ({role}), kept nowhere; its digest is in {file.path}", err=True)


@keys.command("list")
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Names and roles of the keys."""
    holders = _file(settings).holders()
    rows = [{k: str(v) for k, v in asdict(one).items() if k != "sha256"} for one in holders]
    if as_json:
        typer.echo(json.dumps(rows))
    elif not rows:
        typer.echo("no keys: on this machine everybody may look, beyond it nobody")
    else:
        for line in lines_of(rows):
            typer.echo(line)


@keys.command()
def remove(
    name: Annotated[str, NAME],
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Take a key away: it opens nothing from now on. Exit code 1 if there is none of that name."""
    file = _file(settings)
    if not file.remove(name):
        fail(f"there is no key {name} in {file.path}: `headrace console keys list`", NO)
    if not file.holders():
        typer.echo("no key is left: on this machine everybody may look, beyond it nobody", err=True)


def _file(settings: Path | None) -> KeyFile:
    return KeyFile(load(settings).console_keys)
