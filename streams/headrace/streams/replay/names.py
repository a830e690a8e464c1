"""Where the results of replays stand, and under which names. Pure."""

from dataclasses import dataclass

TABLE = "replays"
"""Laid out as `groups`, and apart from it: a query of what was live finds no replays."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Names:
    """The rule and the credit method of results."""

    rule: str
    credit: str
