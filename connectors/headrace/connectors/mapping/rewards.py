"""Rewards in spans of OpenTelemetry: Agent Lightning's attributes and evaluation events. Pure."""

from collections.abc import Mapping
from typing import Any

from headrace.connectors.mapping.conventions import conventions
from headrace.connectors.mapping.facts import Facts
from headrace.connectors.mapping.source import SourceEvent
from headrace.connectors.mapping.texts import short
from headrace.connectors.rewards import reward_fields
from headrace.schemas.ids import span_of_response

_MOST = 1_000


def rewards_in(facts: Facts) -> list[dict[str, Any]]:
    """The rewards among a span's attributes, as fields of spans."""
    given = facts.get("rewards")
    if given is None:
        return []
    known = conventions().rewards
    rows = given if isinstance(given, list) else [given]
    target = _linked(facts.get("links"), known)
    return [
        reward_fields(
            short(_first(row, known["name"]) or "primary"),
            _first(row, known["value"]),
            "agentlightning",
            target,
        )
        for row in rows[:_MOST]
        if isinstance(row, Mapping) and _first(row, known["value"]) is not None
    ]


def reward_of(event: SourceEvent, response: str) -> dict[str, Any] | None:
    """An evaluation's score as fields of a span; None: it has only a label.

    `response`: of the span that the event lies in, for an event that names none.
    """
    known = conventions().evaluation
    value = _first(event.attributes, known["value"])
    if value is None:
        return None
    target = short(_first(event.attributes, known["target"]) or response)
    name = short(_first(event.attributes, known["name"]) or "evaluation")
    return reward_fields(name, value, "evaluation", span_of_response(target) or target)


def _linked(links: Any, known: Mapping[str, tuple[str, ...]]) -> str:
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and _first(link, known["link_name"]) in known["link_names"]:
            target = short(_first(link, known["link_value"]))
            return span_of_response(target) or target
    return ""


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)
