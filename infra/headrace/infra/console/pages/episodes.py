"""`/episodes`: which episodes are there, newest first?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import ask
from headrace.infra.console.pages.listing import NEWEST, filters_of, kept, place_of
from headrace.infra.console.render import Page
from headrace.schemas.vocabulary import RowState, SpanStatus, Split

ROWS = 50
FILTERS = ("policy", "version", "split", "state", "status", "signal")
CHOICES = {
    "split": tuple(Split),
    "state": (RowState.OPEN, RowState.CLOSED),
    "status": tuple(SpanStatus),
}


def episodes(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """A page of the list. `asked` is the URL's: the filters, and the row it goes on after.

    Raises:
        ValueError: `at` is no time of the log.
    """
    filters, at = filters_of(asked, FILTERS), place_of(asked)
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
        older = kept(filters, **place)
    return Page(
        template="episodes.html",
        title="Episodes",
        answers=[found],
        more={
            "filters": filters,
            "kept": kept(filters),
            "choices": CHOICES,
            "older": older,
            "first_page": at == NEWEST,
        },
    )
