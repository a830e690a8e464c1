"""`/episodes`: which episodes are there, newest first?"""

from collections.abc import Mapping

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.pages.listing import listed
from headrace.infra.console.render import Page
from headrace.schemas.vocabulary import RowState, SpanStatus, Split

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
    found, more = listed(
        client,
        "episodes",
        asked,
        filters=FILTERS,
        place={"at": "log_last", "rollout": "rollout_id", "attempt": "attempt"},
        choices=CHOICES,
    )
    return Page(template="episodes.html", title="Episodes", answers=[found], more=more)
