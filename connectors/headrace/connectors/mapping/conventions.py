"""The names that instrumentations use, read once from the `.toml` files beside this module.

What a name means is data: a new convention is a new file, or a line in one.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

FILES = ("headrace", "gen_ai", "gen_ai_before", "openinference", "agentlightning")
"""In order: where two name one field, the earlier one counts."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Conventions:
    """All files as one table."""

    fields: Mapping[str, tuple[str, int]]
    """Attribute: the field it gives, and its rank; the lowest rank counts."""
    prefixes: tuple[tuple[str, str], ...]
    """Prefix of a spread list, and its field."""
    any_prefix: tuple[str, ...]
    left_out: frozenset[str]
    """Parts of spread names that say nothing."""
    kinds: Mapping[str, Mapping[str, str]]
    """Attribute that names the kind: its values and the kinds they mean."""
    implied: Mapping[str, str]
    """Attribute whose presence means a kind."""
    span_names: Mapping[str, str]
    renamed: Mapping[str, str]
    events: Mapping[str, str]
    """Name of an event: its role (`content`, `input`, `output`, `exception`, `evaluation`)."""
    evaluation: Mapping[str, tuple[str, ...]]
    parameters: Mapping[str, tuple[str, ...]]
    rewards: Mapping[str, tuple[str, ...]]
    tools: Mapping[str, tuple[str, ...]]
    agents: Mapping[str, tuple[str, ...]]


@cache
def conventions() -> Conventions:
    """The table of the packaged files."""
    return merged([_file(name) for name in FILES])


def merged(tables: list[dict[str, Any]]) -> Conventions:
    """One table of several, in their order."""
    ranked = enumerate(_names(tables, "fields"))
    prefixes = tuple((name, field) for field, name in _names(tables, "prefixes") if field != "")
    words = [table.get("prefixes", {}).get("words", {}).get("left_out", []) for table in tables]
    fields: dict[str, tuple[str, int]] = {}
    for rank, (field, name) in ranked:
        fields.setdefault(name, (field, rank))
    return Conventions(
        fields=fields,
        prefixes=prefixes,
        any_prefix=tuple(prefix for prefix, _ in prefixes),
        left_out=frozenset(word for some in words for word in some),
        kinds=_joined(tables, "kinds"),
        implied=_joined(tables, "implied"),
        span_names=_joined(tables, "span_names"),
        renamed=_joined(tables, "renamed"),
        events={name: role for role, name in _names(tables, "events")},
        evaluation=_lists(tables, "evaluation"),
        parameters=_lists(tables, "parameters"),
        rewards=_lists(tables, "rewards"),
        tools=_lists(tables, "tools"),
        agents=_lists(tables, "agents"),
    )


def _file(name: str) -> dict[str, Any]:
    text = files("headrace.connectors.mapping").joinpath(f"{name}.toml").read_text()
    return tomllib.loads(text)


def _names(tables: list[dict[str, Any]], section: str) -> Iterator[tuple[str, str]]:
    for table in tables:
        for field, names in table.get(section, {}).items():
            for name in names if isinstance(names, list) else ():
                yield field, name


def _joined(tables: list[dict[str, Any]], section: str) -> dict[str, Any]:
    return {key: value for table in tables for key, value in table.get(section, {}).items()}


def _lists(tables: list[dict[str, Any]], section: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for field, name in _names(tables, section):
        found[field] = (*found.get(field, ()), name)
    return found
