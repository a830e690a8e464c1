"""Lists that go on where they ended: filters and places as URLs hold them."""

from collections.abc import Mapping
from urllib.parse import urlencode

NEWEST = 2**63 - 1
"""Where a list begins: after every time of the log."""


def filters_of(asked: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """The filters that a URL holds; empty: not filtered by it."""
    return {name: asked.get(name, "").strip() for name in names}


def kept(filters: Mapping[str, str], **place: object) -> str:
    """The filters as the query of a URL, and the row that the list goes on after."""
    chosen = {name: value for name, value in filters.items() if value}
    return urlencode({**chosen, **place}, errors="replace")


def place_of(asked: Mapping[str, str]) -> int:
    """The time of the log before which a list goes on.

    Raises:
        ValueError: `at` is no time of the log.
    """
    at = int(asked.get("at", NEWEST))
    if not -(2**63) <= at <= NEWEST:
        raise ValueError(f"at={at} is no time of the log")
    return at
