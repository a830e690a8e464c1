"""Lists that go on where they ended: filters and places as URLs hold them."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Answer, ask

NEWEST = 2**63 - 1
"""Where a list begins: after every time of the log."""
ROWS = 50
"""Of a page."""
Choices = Mapping[str, Sequence[str]]


def listed(
    client: ClickHouse,
    query: str,
    asked: Mapping[str, str],
    *,
    filters: tuple[str, ...],
    place: Mapping[str, str],
    choices: Choices,
) -> tuple[Answer, dict[str, Any]]:
    """A page of a list, newest first, and what its template is given of filters and place.

    place: of each parameter that says where the page begins, the column that the next one goes on
    from; `at` is the time, the others tell rows of one time apart. choices: values of filters.
    Raises ValueError: `at` is no time of the log.
    """
    chosen, at = filters_of(asked, filters), _place_of(asked)
    after = {name: asked.get(name, "") for name in place} | {"at": at}
    found = ask(client, query, **chosen, **after, limit=ROWS)
    older = ""
    if len(found.rows) == ROWS:
        last = found.rows[-1]
        older = kept(chosen, **{name: last[column] for name, column in place.items()})
    return found, {
        "filters": chosen,
        "kept": kept(chosen),
        "choices": choices,
        "older": older,
        "first_page": at == NEWEST,
    }


def filters_of(asked: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """The filters that a URL holds; empty: not filtered by it."""
    return {name: asked.get(name, "").strip() for name in names}


def kept(filters: Mapping[str, str], **place: object) -> str:
    """The filters as the query of a URL, and the row that the list goes on after."""
    chosen = {name: value for name, value in filters.items() if value}
    return urlencode({**chosen, **place}, errors="replace")


def _place_of(asked: Mapping[str, str]) -> int:
    """The time of the log before which a list goes on.

    Raises:
        ValueError: `at` is no time of the log.
    """
    at = int(asked.get("at", NEWEST))
    if not -(2**63) <= at <= NEWEST:
        raise ValueError(f"at={at} is no time of the log")
    return at
