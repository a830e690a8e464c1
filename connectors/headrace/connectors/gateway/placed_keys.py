"""API keys that say a place: `KEY/rollout/{rollout_id}/attempt/{attempt}`. Pure."""

import re
from collections.abc import Mapping

_PLACED = re.compile(
    r"(?P<key>.*?)(?:/p/(?P<project>[^/]+))?"
    r"/rollout/(?P<rollout_id>[^/]+)/attempt/(?P<attempt>[^/]+)"
)
"""The place as the base URL has it before /v1."""


def split_key(given: str) -> tuple[str, Mapping[str, str]]:
    """An API key as it was sent: the key itself, and project, rollout_id and attempt if it names
    them."""
    placed = _PLACED.fullmatch(given)
    if placed is None:
        return given, {}
    named = {name: value for name, value in placed.groupdict().items() if value and name != "key"}
    return placed["key"], named
