"""`/streams`: who is behind, what stands still, what was set aside?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import ask
from headrace.infra.console.render import Page


def streams(client: ClickHouse, _: Mapping[str, str]) -> Page:
    """How fresh each table is, dead letters, and what was given up."""
    letters, lost, freshness = (ask(client, name) for name in ("letters", "lost", "freshness"))
    return Page(
        template="streams.html", title="Streams", answers=[freshness, letters, lost], more={}
    )
