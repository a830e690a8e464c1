"""Puts the verbs together and turns our errors into messages and exit codes.

Exit codes: 0 done · 1 the command ran and the answer is no · 2 wrong use or settings ·
3 a part could not be started or reached · 130 interrupted.
"""

import sys
from importlib import import_module
from typing import NoReturn

import typer
from rich.console import Console

NO, WRONG_USE, NOT_RUNNING, INTERRUPTED = 1, 2, 3, 130
VERBS = ("up", "down", "status", "doctor", "demo", "work", "sql")

app = typer.Typer(
    name="headrace",
    help="Trains LLM agents continuously from the telemetry of the agents themselves.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the console script."""
    try:
        for verb in VERBS:
            import_module(f"headrace.infra.cli.{verb}")
    except ModuleNotFoundError as error:
        fail(
            f"this command needs {error.name}, which the base install leaves out: "
            "pip install 'headrace[all]'",
            WRONG_USE,
        )
    from headrace.infra.errors import InfraError, SettingsError

    try:
        app()
    except SettingsError as error:
        fail(str(error), WRONG_USE)
    except InfraError as error:
        fail(str(error), NOT_RUNNING)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def fail(message: str, code: int) -> NoReturn:
    """Say what went wrong on stderr and leave with a code."""
    console = Console(stderr=True)
    console.print("headrace:", style="red", end=" ")
    console.print(message, markup=False, highlight=False)
    sys.exit(code)
