"""`headrace replay`: rewards and credit of the past under other rules, beside the live ones."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.values import plain
from headrace.connectors.kafka import Registry
from headrace.infra.cli.app import NO, SETTINGS, WRONG_USE, app, fail
from headrace.infra.cli.times import HOW, log_time
from headrace.infra.settings import load
from headrace.infra.terminal.live import LiveLine, bar
from headrace.schemas import Codec
from headrace.schemas.topics import StageGroup
from headrace.streams.credit.config import CreditSettings
from headrace.streams.replay import (
    ChangedRule,
    Comparison,
    Names,
    NothingToReplay,
    Replayed,
    compare,
    publish,
)
from headrace.streams.replay import replay as run_replay
from headrace.streams.reward import RewardError, Rule, load_rule


@app.command()
def replay(
    since: Annotated[str, typer.Option("--from", help=f"{HOW} Left out: all.")] = "",
    until: Annotated[str, typer.Option(help=f"{HOW} Left out: now.")] = "",
    rules: Annotated[str, typer.Option(help="Reward rule instead of [credit] rule.")] = "",
    credit: Annotated[str, typer.Option(help="Call method instead of [credit] call.")] = "",
    baseline: Annotated[str, typer.Option(help="Instead of [credit] baseline.")] = "",
    token: Annotated[str, typer.Option(help="Token method instead of [credit] token.")] = "",
    against: Annotated[
        str,
        typer.Option("--compare", help="Rule to compare with, name@version, instead of the live."),
    ] = "",
    against_credit: Annotated[
        str, typer.Option("--compare-credit", help="Credit method to compare with, as `credits`.")
    ] = "",
    publishing: Annotated[
        bool, typer.Option("--publish", help="Send the credit to the trainers, as revisions.")
    ] = False,
    show_sql: Annotated[bool, typer.Option("--sql", help="Show the queries that compare.")] = False,
    credit_group: Annotated[
        str, typer.Option(help="Consumer group of the live stage.")
    ] = StageGroup.CREDIT.value,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Compute rewards and credit again, and tell what changed.

    The live results stay as they are, and the live stream goes on: what comes out is kept beside
    them in ClickHouse, under the names of its rule and credit method. A replay relabels what was
    done; it does not tell what agents would have done under other rewards.
    """
    loaded = load(settings)
    live = dataclasses.replace(loaded.credit, roles=loaded.roles)
    asked = _asked(live, rule=rules, call=credit, baseline=baseline, token=token)
    begin, end = log_time(since, "--from"), log_time(until, "--until")
    rule, live_rule = _rule(asked.rule), _rule(live.rule)
    was = Names(rule=live_rule.id, credit=live.method.id)
    names = Names(rule=rule.id, credit=asked.method.id)
    if publishing and names == was:
        fail(
            "--publish: these are the live rules and the live credit method, whose results are "
            "on the topic",
            WRONG_USE,
        )
    was = Names(rule=against or was.rule, credit=against_credit or was.credit)
    kafka = loaded.kafka_access.client("headrace.replay")
    clickhouse = ClickHouse(loaded.clickhouse_config)
    registry = Registry(loaded.registry_access)
    codec = Codec(registry)
    sent = None
    try:
        with LiveLine(Console(stderr=True)) as line:
            done = run_replay(
                kafka, clickhouse, codec,
                rule=rule, settings=asked, since=begin, until=end,
                credit_group=credit_group,
                progress=lambda done, total: line.update(_progress(done, total)),
            )  # fmt: skip
            if publishing:
                sent = publish(
                    kafka, clickhouse, codec, settings=asked, names=names,
                    progress=lambda sent: line.update(f"{sent:,} groups published"),
                )  # fmt: skip
            changed = compare(clickhouse, was, names)
    except ChangedRule as error:
        fail(str(error), WRONG_USE)
    except NothingToReplay as error:
        fail(str(error), NO)
    finally:
        clickhouse.close()
        registry.close()
    if as_json:
        typer.echo(json.dumps(_report(done, changed, sent, show_sql), default=str))
        return
    _tell(done, changed, sent)
    if show_sql:
        for one in changed.queries:
            typer.echo(f"\n-- {one.name}\n{one.sql}")


def _asked(live: CreditSettings, **changes: str) -> CreditSettings:
    """The live settings with what the command line says instead."""
    given: dict[str, Any] = {name: text for name, text in changes.items() if text}
    return dataclasses.replace(live, **given)


def _rule(text: str) -> Rule:
    here = str(Path.cwd())
    sys.path.insert(0, here)  # as the credit stage finds it
    try:
        return load_rule(text)
    except RewardError as error:
        fail(str(error), WRONG_USE)
    finally:
        sys.path.remove(here)


def _progress(done: Replayed, total: int) -> str:
    share = min(1.0, done.records / total) if total else 1.0
    left = done.seconds / share * (1 - share) if share else 0.0
    return (
        f"{bar(share)}, {done.episodes:,} episodes, {done.rate:,.0f} a second, {left:.0f} s to go"
    )


def _report(
    done: Replayed, changed: Comparison, sent: int | None, show_sql: bool
) -> dict[str, object]:
    report = {
        "rule": changed.now.rule,
        "credit": changed.now.credit,
        "compared_with": dataclasses.asdict(changed.was),
        "episodes_read": done.episodes,
        "unreadable": done.unreadable,
        "counts": dict(done.counts),
        "seconds": round(done.seconds, 3),
        "groups": plain(changed.groups),
        "episodes": plain(changed.episodes),
        "by_policy": plain(list(changed.by_policy)),
        "biggest": plain(list(changed.biggest)),
        "published": sent,
    }
    if show_sql:
        report["sql"] = {one.name: one.sql for one in changed.queries}
    return report


def _tell(done: Replayed, changed: Comparison, sent: int | None) -> None:
    typer.echo(
        f"{done.episodes:,} episodes in {done.seconds:.1f} s, {done.rate:,.0f} a second"
        + (f"; {done.unreadable:,} records could not be read" if done.unreadable else "")
    )
    typer.echo(f"now  rule {changed.now.rule}, credit {changed.now.credit}")
    typer.echo(f"was  rule {changed.was.rule}, credit {changed.was.credit}")
    for of, numbers in (("groups", changed.groups), ("episodes", changed.episodes)):
        told = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in numbers.items())
        typer.echo(f"{of:<9}{told}")
    _table("reward by policy", changed.by_policy)
    _table("biggest changes", changed.biggest)
    if sent is not None:
        typer.echo(f"{sent:,} Credits published")


def _table(title: str, rows: Sequence[Any]) -> None:
    if not rows:
        return
    table = Table(*rows[0], title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(f"{v:.6g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
