"""`/episodes`: which episodes are there, newest first?"""

from collections.abc import Mapping
from urllib.parse import urlencode

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import ask
from headrace.infra.console.render import Page

ROWS = 50
FILTERS = ("policy", "split", "state", "status")
_NEWEST = 2**63 - 1


def episodes(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """A page of the list. `asked` is the URL's: the filters, and the row it goes on after.

    Raises:
        ValueError: `at` is no time of the log.
    """
    filters = {name: asked.get(name, "") for name in FILTERS}
    at = int(asked.get("at", _NEWEST))
    if not -(2**63) <= at <= _NEWEST:
        raise ValueError(f"at={at} is no time of the log")
    after = {
        "at": at,
        "rollout": asked.get("rollout", ""),
        "attempt": asked.get("attempt", ""),
    }
    found = ask(client, "episodes", **filters, **after, limit=ROWS)
    older = ""
    if len(found.rows) == ROWS:
        last = found.rows[-1]
        place = {"at": last["log_last"], "rollout": last["rollout_id"], "attempt": last["attempt"]}
        older = urlencode({**{k: v for k, v in filters.items() if v}, **place})
    return Page(
        template="episodes.html",
        title="Episodes",
        answers=[found],
        more={"filters": filters, "older": older, "first_page": at == _NEWEST},
    )
