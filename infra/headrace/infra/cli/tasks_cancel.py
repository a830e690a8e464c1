"""`headrace tasks cancel`: take tasks back."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.connectors.privacy import Privacy
from headrace.infra.cli.app import NO, SETTINGS, WRONG_USE, fail
from headrace.infra.settings import load

if TYPE_CHECKING:  # a base installation lacks ClickHouse's client, and asks for tasks all the same
    from headrace.infra.launch.cancel import TakenBack


def cancel(
    ids: Annotated[
        list[str], typer.Argument(help="Rollouts, or groups for all of their rollouts.")
    ],
    why: Annotated[str, typer.Option(help="For whoever looks at the rollout later.")] = "by hand",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Take tasks back: what waits is not begun, what runs is ended.

    Each rollout ends with the outcome `cancelled`; its group is credited without it. Those that are
    over stay what they are. Exit code 1 if an id is unknown, 3 if a server does not answer.
    """
    from headrace.infra.launch.cancel import cancel as take_back

    if not why.strip():
        fail("--why is empty: say why, or leave it out", WRONG_USE)
    loaded = load(settings)
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    done = take_back(loaded, ids, Privacy(loaded.privacy).text(why))
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        _tell(done)
    if done.unknown:
        raise typer.Exit(NO)


def _tell(done: "TakenBack") -> None:
    if done.cancelled:
        typer.echo(
            f"{len(done.cancelled)} rollouts are not to be run any more; their runner ends them"
        )
    if done.over:
        typer.echo(f"{len(done.over)} rollouts were over already: {', '.join(done.over)}")
    for one in done.unknown:
        typer.echo(
            f"{one} is no rollout and no group that ClickHouse knows (a new one takes a second): "
            "`headrace tasks status` shows them"
        )
