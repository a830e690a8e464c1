"""`/episodes`: which episodes are there, newest first?"""

from collections.abc import Mapping
from urllib.parse import urlencode

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import ask
from headrace.infra.console.render import Page
from headrace.schemas.vocabulary import RowState, SpanStatus, Split

ROWS = 50
FILTERS = ("policy", "version", "split", "state", "status", "signal")
CHOICES = {
    "split": tuple(Split),
    "state": (RowState.OPEN, RowState.CLOSED),
    "status": tuple(SpanStatus),
}
_NEWEST = 2**63 - 1


def filters_of(asked: Mapping[str, str]) -> dict[str, str]:
    """The filters of a list of episodes that a URL holds; empty: not filtered by it."""
    return {name: asked.get(name, "").strip() for name in FILTERS}


def kept(filters: Mapping[str, str]) -> str:
    """The filters as the query of a URL."""
    return urlencode({name: value for name, value in filters.items() if value}, errors="replace")


def episodes(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """A page of the list. `asked` is the URL's: the filters, and the row it goes on after.

    Raises:
        ValueError: `at` is no time of the log.
    """
    filters = filters_of(asked)
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
        older = urlencode({**{k: v for k, v in filters.items() if v}, **place}, errors="replace")
    return Page(
        template="episodes.html",
        title="Episodes",
        answers=[found],
        more={
            "filters": filters,
            "kept": kept(filters),
            "choices": CHOICES,
            "older": older,
            "first_page": at == _NEWEST,
        },
    )
