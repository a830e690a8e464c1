"""Puts the verbs together and turns our errors into messages and exit codes.

Exit codes: 0 done · 1 the command ran and the answer is no · 2 wrong use or settings ·
3 a part could not be started or reached · 130 interrupted.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from headrace.connectors.loopback import exempt
from headrace.infra.terminal.encoding import speak_utf8

NO, WRONG_USE, NOT_RUNNING, INTERRUPTED = 1, 2, 3, 130
VERBS = (
    *("up", "down", "status", "resume", "doctor", "demo", "run", "work", "tasks", "sql"),
    *(
        "credit",
        "feedback",
        "audit",
        "replay",
        "export",
        "rebuild",
        "dlq",
        "bench",
        "traffic",
        "canary",
        "console",
    ),
)

SETTINGS = typer.Option("--settings", help="Settings file instead of ./headrace.toml.")

app = typer.Typer(
    name="headrace",
    help="Trains LLM agents continuously from the telemetry of the agents themselves.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 110},  # verbs and what they do, each on its line
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"headrace {version('headrace')}")
        raise typer.Exit


# Without a callback typer takes an only verb for the whole command.
@app.callback()
def _verbs(
    asked: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    return


def main() -> None:
    """Entry point of the console script."""
    speak_utf8()
    exempt()  # for the parts and agents we start, too
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    lacking = _load_verbs((asked,) if asked in VERBS else () if asked == "--version" else VERBS)
    if asked in lacking:
        _fail_for_lack(asked, lacking[asked])
    from headrace.connectors.clickhouse.errors import ClickHouseError
    from headrace.connectors.kafka import KafkaClientError
    from headrace.connectors.runner import RunnerError
    from headrace.connectors.settings import BadSettings
    from headrace.connectors.tasks import TasksError
    from headrace.infra.errors import InfraError, SettingsError
    from headrace.schemas.errors import SchemaError

    try:
        app()
    except ModuleNotFoundError as error:
        _fail_for_lack(asked, str(error.name))
    except (SettingsError, BadSettings, TasksError) as error:
        fail(str(error), WRONG_USE)
    except (InfraError, KafkaClientError, SchemaError, ClickHouseError, RunnerError) as error:
        fail(str(error), NOT_RUNNING)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _load_verbs(verbs: Sequence[str]) -> dict[str, str]:
    """Register verbs; returns those that this installation cannot run, and what they lack.

    Only the one that is asked for: to import them all takes two seconds.
    A production agent's base installation runs `headrace work` and leaves the servers out.
    """
    lacking = {}
    for verb in verbs:
        try:
            import_module(f"headrace.infra.cli.{verb}")
        except ModuleNotFoundError as error:
            lacking[verb] = str(error.name)
    return lacking


def _fail_for_lack(verb: str, module: str) -> NoReturn:
    fail(
        f"`headrace {verb}` needs {module}, which this installation leaves out: "
        "pip install 'headrace[all]'",
        WRONG_USE,
    )


def fail(message: str, code: int) -> NoReturn:
    """Say what went wrong on stderr and leave with a code."""
    console = Console(stderr=True)
    console.print("headrace:", style="red", end=" ")
    console.print(message, markup=False, highlight=False)
    sys.exit(code)
