"""`/streams`: who is behind, what stands still, what was set aside?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.saved import saved_queries
from headrace.infra.console.around import Look
from headrace.infra.console.ask import Answer, answer, ask_all
from headrace.infra.console.render import Page

_RESUME = """SELECT *, concat('headrace resume ', topic, '/', toString(partition)) AS command
FROM (
{halts}
) ORDER BY topic, partition"""


def streams(look: Look, client: ClickHouse, _: Mapping[str, str]) -> Page:
    """The parts and their lag, halts, how fresh each table is, dead letters, what was given up."""
    freshness, letters, lost = ask_all(client, ("freshness", {}), ("letters", {}), ("lost", {}))
    answers = [freshness, _halts(client), letters, lost, *look().answers()]
    return Page(template="streams.html", title="Streams", answers=answers, more={})


def _halts(client: ClickHouse) -> Answer:
    """The saved query `halts`, and what lets each partition go on."""
    return answer(client, "halts", _RESUME.format(halts=saved_queries()["halts"].sql), {})
