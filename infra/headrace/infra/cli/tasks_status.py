"""`headrace tasks status`: how far the tasks are."""

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headrace.infra.cli.app import SETTINGS
from headrace.infra.settings import load

if TYPE_CHECKING:  # a base installation lacks ClickHouse's client, and asks for tasks all the same
    from headrace.infra.launch.tasks_status import Running, TaskCounts

COUNTS = ("queued", "running", "waiting", "done", "failed", "cancelled", "retried")
_SHOWN = 20


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Show how far the tasks are, by policy and project: what ClickHouse has of the log.

    Queued: no attempt has begun. Waiting: one is over, another one is to come. Done, failed and
    cancelled are over; `headrace sql` tells what was trained. Exit code 3 if ClickHouse does not
    answer.
    """
    from headrace.connectors.clickhouse import ClickHouse
    from headrace.infra.launch.tasks_status import tasks_status
    from headrace.infra.launch.untrained import untrained_policies

    loaded = load(settings)
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    client = ClickHouse(loaded.clickhouse_config)
    try:
        found = tasks_status(client)
        teaching_nothing = untrained_policies(client, loaded)
    finally:
        client.close()
    if as_json:
        report = {
            "tasks": [asdict(one) for one in found],
            "untrained": [asdict(one) for one in teaching_nothing],
        }
        typer.echo(json.dumps(report, indent=1))
        return
    show(found, time.time())
    for one in teaching_nothing:
        typer.echo(f"\n{one.policy}: {one.message}")


def show(found: "list[TaskCounts]", now_s: float) -> None:
    """Print it for a person; `now_s`: seconds since the epoch."""
    console = Console(highlight=False)
    if not found:
        console.print("there are no tasks: `headrace tasks FILE` asks for them")
        return
    table = _table("policy", "project", *COUNTS)
    for column in table.columns[2:]:
        column.justify, column.no_wrap = "right", True
    for one in found:
        numbers = (str(getattr(one, name)) for name in COUNTS)
        table.add_row(escape(one.policy), escape(one.project), *numbers)
    console.print(table)
    running = [each for one in found for each in one.now_running]
    if running:
        console.print()
        console.print(_running(running[:_SHOWN], now_s))
        if len(running) > _SHOWN:
            console.print(f"and {len(running) - _SHOWN} more: `headrace tasks status --json`")
    for one in found:
        if (error := one.last_error) is not None:
            console.print()
            console.print(
                f"last error of {one.policy} ({_ago(now_s - error.at / 1000)} ago, rollout "
                f"{error.rollout_id}): {error.text}",
                markup=False,
            )


def _running(running: "list[Running]", now_s: float) -> Table:
    table = _table("running rollout", "try", "runner", "since", "deadline")
    for column in table.columns:
        column.no_wrap = column.header != "runner"
    for each in running:
        left = each.deadline / 1000 - now_s
        deadline = "none" if not each.deadline else f"in {_ago(left)}" if left > 0 else "over"
        table.add_row(
            escape(each.rollout_id),
            str(each.number),
            escape(each.runner),
            _ago(now_s - each.since / 1000),
            deadline,
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _ago(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
