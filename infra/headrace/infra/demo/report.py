"""What the demo prints at its end."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.demo import queries
from headrace.infra.demo.evaluation import HeldOut
from headrace.infra.demo.plot import draw
from headrace.infra.settings import Settings
from headrace.schemas.vocabulary import SampleOutcome

PENDING = "pending"


def show(console: Console, settings: Settings, test: HeldOut, picture: Path) -> None:
    """Rates, p-value, interval, transcripts, the SQL summary and the plot."""
    paired = test.paired
    low, high = paired.interval
    console.print(
        f"  {len(paired.before)} questions never trained on: version {test.first} got "
        f"{paired.rate_before:.2f} right, version {test.last} {paired.rate_after:.2f}\n"
        f"  {paired.better} better, {paired.worse} worse; one-sided exact McNemar "
        f"p = {paired.p_value:.2g}; difference {paired.rate_after - paired.rate_before:+.2f} "
        f"(95 % interval {low:+.2f} to {high:+.2f})",
        highlight=False,
        soft_wrap=True,
    )
    if any(test.unended):
        console.print(
            f"  counted as wrong, since the agent failed or was too slow: {test.unended[0]} of "
            f"version {test.first}, {test.unended[1]} of version {test.last}",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    for transcript in test.transcripts:
        console.print(f"\n  {transcript.question}  (right: {transcript.expected})", highlight=False)
        console.print(
            f"    version {test.first}: {json.dumps(transcript.before, ensure_ascii=False)}\n"
            f"    version {test.last}: {json.dumps(transcript.after, ensure_ascii=False)}",
            highlight=False,
            markup=False,
        )
    console.rule("asked of ClickHouse")
    client = ClickHouse(settings.clickhouse_config)
    try:
        by_version = queries.ask(client, queries.REWARD_BY_VERSION, policy=settings.policy.name)
        ledger = queries.ask(client, queries.LEDGER, policy=settings.policy.name)
    finally:
        client.close()
    for query, rows in ((queries.REWARD_BY_VERSION, by_version), (queries.LEDGER, ledger)):
        show_rows(console, query, settings.policy.name, rows)
    console.print(_adds_up(ledger), highlight=False)
    draw(picture, by_version, paired, (test.first, test.last))
    console.print(f"plot: {picture}", highlight=False)
    if paired.p_value < 0.01:
        console.print("The model got better.", style="green")
    else:
        console.print("This run does not show that the model got better.", style="red")


def show_rows(console: Console, query: str, policy: str, rows: Sequence[queries.Row]) -> None:
    """A query, as one could ask it, and what it brought."""
    shown = " ".join(query.split()).replace("{policy:String}", f"'{policy}'")
    console.print(shown, style="dim", markup=False, highlight=False, soft_wrap=True)
    table = Table(*(rows[0] if rows else ("no rows",)), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


def _adds_up(ledger: list[queries.Row]) -> str:
    total = sum(int(row["samples"]) for row in ledger)
    parts = {
        state: sum(int(row["samples"]) for row in ledger if row["state"] == state)
        for state in (SampleOutcome.TRAINED, SampleOutcome.DROPPED, PENDING)
    }
    terms = " + ".join(f"{count} {state}" for state, count in parts.items())
    return f"{total} samples = {terms}"


def say_what_next(console: Console, settings: Settings) -> None:
    """What to open, and three lines to paste."""
    console.rule("what next")
    if settings.console.enabled:
        console.print(f"look at it: {settings.console.url}/", highlight=False, soft_wrap=True)
    console.print(
        f"curl '{settings.clickhouse_url}/?database={settings.clickhouse.database}' --data-binary "
        "'SELECT * FROM reward_by_policy FORMAT PrettyCompact'\n"
        f"OPENAI_BASE_URL={settings.gateway_url}/v1 OPENAI_API_KEY=any python your_agent.py  "
        f'# model="{settings.policy.name}"\n'
        "headrace down",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
