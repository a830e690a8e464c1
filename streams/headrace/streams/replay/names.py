"""Where the results of replays stand, and under which names. Pure."""

from dataclasses import dataclass

TABLE = "replays"
"""Laid out as `groups`, and apart from it: whoever asks what was live is not told of replays."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Names:
    """The rule and the credit method of results."""

    rule: str
    credit: str
