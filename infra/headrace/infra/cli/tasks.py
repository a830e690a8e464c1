"""`headrace tasks`: put the tasks of a file on the stream; its verbs look after them."""

import json
import logging
import signal
import threading
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from headrace.connectors.privacy import Privacy
from headrace.connectors.tasks import Pace, TaskItem, progress_text, read_items, redacted_items
from headrace.infra.cli.app import INTERRUPTED, SETTINGS, WRONG_USE, app, fail
from headrace.infra.cli.tasks_cancel import cancel
from headrace.infra.cli.tasks_status import status
from headrace.infra.launch.runners import source_config, unrecorded
from headrace.infra.settings import Settings, load
from headrace.infra.terminal.feed import FOLLOW, Requested, Training, evaluate, opened, planned
from headrace.infra.terminal.live import LiveLine
from headrace.infra.terminal.log_lines import show_logs
from headrace.schemas.vocabulary import Split

TRAIN_DEADLINE_S = 600.0
ASK = "ask"


class _FileOrVerb(TyperGroup):
    """`headrace tasks FILE` asks for its tasks; what is named like a verb is one."""

    # `Any`: the types are those of typer's own copy of click, which is private.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take everything but a verb as the arguments of `ask`."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else [ASK, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As click does, but `ask` is not named in what a person reads."""
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == ASK else name, command, rest


verbs = typer.Typer(cls=_FileOrVerb, rich_markup_mode=None)
app.add_typer(verbs, name="tasks", help="Ask for rollouts of tasks; see and cancel them.")
verbs.command()(cancel)
verbs.command()(status)


@verbs.command(ASK, hidden=True)
def tasks(
    file: Annotated[Path, typer.Argument(help="JSON lines: `input` and, if known, `expected`.")],
    agent: Annotated[
        str, typer.Option(help="module:function, where `headrace work --agent` names none.")
    ] = "",
    split: Annotated[
        Split, typer.Option(help="train: a group of rollouts a task; eval: one, never trained.")
    ] = Split.TRAIN,
    epochs: Annotated[
        int, typer.Option(min=0, help="Times through the file; 0: until Ctrl-C (train).")
    ] = 1,
    groups: Annotated[
        int | None, typer.Option(min=1, help="Groups to ask for at most (train).")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Policy whose trainer sets the pace; empty: the default policy.")
    ] = "",
    policy_version: Annotated[
        int | None,
        typer.Option(min=0, help="Version that is asked, instead of the newest (eval)."),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Seconds from asking to the end of an attempt, 0: none. "
            "If not given, 600 (train) or none (eval).",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON line for each version, and one at the end.")
    ] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Ask for rollouts of the tasks in a file, no faster than the trainer takes them.

    `headrace work` runs them. This ends when the last is asked for; training goes on. Exit code 2
    if a line of the file is wrong, 3 if Kafka or the registry does not answer, 130 after Ctrl-C.

    `headrace tasks status` shows how far they are, `headrace tasks cancel` takes tasks back.
    """
    loaded = load(settings)
    _check_options(split, epochs, groups, policy_version)
    _check_policy(loaded, policy, split)
    if (trouble := unrecorded(loaded.privacy, "default")) is not None:
        fail(trouble, WRONG_USE)
    items = redacted_items(_read(file), Privacy(loaded.privacy))
    if deadline is None:
        deadline = TRAIN_DEADLINE_S if split is Split.TRAIN else 0.0
    config = source_config(loaded, agent=agent, policy=policy, deadline_s=deadline)
    watched = Console(stderr=True)
    show_logs(watched, logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with LiveLine(watched) as line, opened(config) as source:
        line.update(f"looking at what {config.kafka.bootstrap} holds")
        if split is Split.EVAL:
            version = FOLLOW if policy_version is None else policy_version
            asked = evaluate(source, items * epochs, version, stop, line)
        else:
            draw, total = planned(items, epochs, groups)
            tell = _json_line if as_json else partial(_words, total=total)
            asked = Training(config, total, line, tell).run(source, draw, stop)
    _tell_end(asked, interrupted=stop.is_set(), as_json=as_json)
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)


def _json_line(pace: Pace) -> None:
    typer.echo(json.dumps(asdict(pace)))


def _words(pace: Pace, *, total: int | None) -> None:
    typer.echo(progress_text(pace, total))


def _tell_end(asked: Requested, *, interrupted: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**asdict(asked), "interrupted": interrupted}))
        return
    typer.echo(
        f"{'interrupted: ' if interrupted else ''}{asked.rollouts} rollouts asked for; "
        "`headrace work` runs them, `headrace tasks status` shows how far they are"
    )


def _check_options(
    split: Split, epochs: int, groups: int | None, policy_version: int | None
) -> None:
    if split is Split.TRAIN and policy_version is not None:
        fail("--policy-version is for --split eval: training follows the newest", WRONG_USE)
    if split is Split.EVAL and groups is not None:
        fail("--groups is for --split train: each task is asked once in eval", WRONG_USE)
    if split is Split.EVAL and epochs == 0:
        fail("--epochs 0 is for --split train: nothing paces an evaluation", WRONG_USE)


def _check_policy(settings: Settings, policy: str, split: Split) -> None:
    """Tasks wait for their policy's trainer: one without a trainer would keep them for ever."""
    name, trained = policy or settings.policy.name, settings.roles.trained
    if name not in settings.models:
        fail(f"--policy {name}: no such policy, there are {', '.join(settings.models)}", WRONG_USE)
    if split is Split.TRAIN and name not in trained:
        fail(
            f"nobody trains {name} ([agents]), so its tasks would wait for ever: give --policy "
            f"{' or '.join(trained) or 'one that is trained'}",
            WRONG_USE,
        )


def _read(file: Path) -> list[TaskItem]:
    try:
        with file.open(encoding="utf-8") as lines:
            return read_items(lines, str(file))
    except UnicodeDecodeError as error:
        fail(f"{file} is no UTF-8: {error}", WRONG_USE)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}", WRONG_USE)
