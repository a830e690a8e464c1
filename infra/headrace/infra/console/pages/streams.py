"""`/streams`: who is behind, what stands still, what was set aside?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.around import Look
from headrace.infra.console.ask import ask
from headrace.infra.console.render import Page


def streams(look: Look, client: ClickHouse, _: Mapping[str, str]) -> Page:
    """The parts and their lag, halts, how fresh each table is, dead letters, what was given up."""
    tables = [ask(client, name) for name in ("freshness", "halts", "letters", "lost")]
    return Page(
        template="streams.html", title="Streams", answers=[*tables, *look().answers()], more={}
    )
