"""`headrace credit explain`: where the numbers of an episode's calls and tokens come from."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.cli.app import NO, SETTINGS, app, fail
from headrace.infra.settings import load
from headrace.schemas.vocabulary import RowState
from headrace.streams.credit.explain import Explained, ExplainedCall, explain
from headrace.streams.credit.store import groups_of_rollout

credit_app = typer.Typer(help="What credit an episode got, and why.", no_args_is_help=True)
app.add_typer(credit_app, name="credit")


@credit_app.callback()
def _verbs() -> None:
    # Without it typer takes an only verb for the whole command.
    return


@credit_app.command("explain")
def explain_episode(
    episode: Annotated[str, typer.Argument(help="ROLLOUT/ATTEMPT, or ROLLOUT for all attempts.")],
    project: Annotated[str, typer.Option(help="Project of the episode.")] = "default",
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object for each rule and credit method.")
    ] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Show an episode's return, what of it fell on each call, and on the tokens of these.

    One tree for each rule and credit method under which it was credited. Exit code 1 if nothing is
    known of the episode.
    """
    rollout_id, _, attempt = episode.partition("/")
    config = load(settings).clickhouse_config
    client = ClickHouse(config)
    try:
        rows = groups_of_rollout(client, project, rollout_id)
    finally:
        client.close()
    found = [one for row in rows for one in explain(row, rollout_id, attempt)]
    if not found:
        fail(
            f"no group has episode {episode} of project {project}: it is open, or not known. "
            "`headrace sql` can list them: SELECT rollout_id, attempt, state FROM episodes FINAL",
            NO,
        )
    for one in found:
        if as_json:
            typer.echo(json.dumps(dataclasses.asdict(one)))
            continue
        for line in lines_of(one):
            typer.echo(line)


def lines_of(one: Explained) -> Iterator[str]:
    """Return → calls → tokens, as a person reads it: what follows from a line is indented."""
    yield f"episode {one.rollout_id}/{one.attempt}: rule {one.rule}, credit {one.credit}"
    given = "no reward" if one.reward is None else f"return {one.reward:.6g}"
    parts = ", ".join(f"{name} {value:.6g}" for name, value in one.dimensions.items())
    why = f" ({one.detail})" if one.detail else ""
    yield f"  {given}{f' of {parts}' if parts else ''}{why}"
    if one.state != RowState.FINAL:
        yield f"    group {one.group_id} is open: it is not credited yet"
        return
    yield (
        f"    group {one.group_id}: {one.outcome}, {one.episodes} of {one.group_size} rollouts, "
        f"baseline {one.baseline} (mean {one.mean:.6g}, deviation {one.std:.6g})"
    )
    if one.observed_calls:
        noted = f"noted of {one.observed_calls} calls of the group"
        yield f"      {noted}; {one.observed_alone} stand alone"
    yield f"      advantage {one.advantage:+.6g}, {one.status}"
    for number, call in enumerate(one.calls, start=1):
        yield f"        call {number}{f' {call.agent}' if call.agent else ''}: {_earned(call)}"
        yield f"          {_tokens(call)}"


def _earned(call: ExplainedCall) -> str:
    noted = f", noted {call.observed}" if call.observed else ""
    reward = "" if call.reward is None else f"reward {call.reward:.6g}, "
    return f"{reward}advantage {call.advantage:+.6g}{noted}"


def _tokens(call: ExplainedCall) -> str:
    if not call.trainable:
        return f"{call.tokens} tokens, not trained: {call.reason}"
    if call.first_token is None or call.last_token is None:
        return f"{call.tokens} tokens"
    if call.first_token == call.last_token:
        return f"{call.tokens} tokens, {call.first_token:+.6g} each"
    return f"{call.tokens} tokens, {call.first_token:+.6g} the first to {call.last_token:+.6g}"
