"""Tools in spans of OpenTelemetry: names, arguments, results, and whether they failed. Pure."""

import json
from typing import Any

from headrace.connectors.mapping.conventions import conventions
from headrace.connectors.mapping.facts import Facts
from headrace.connectors.mapping.texts import short, text, trimmed

_MOST_JSON = 100_000


def tool_fields(facts: Facts, name: str, message: str) -> dict[str, Any]:
    """Name, input and output of a tool's span; `message` stands in for a result."""
    known = conventions().tools
    given, result = facts.get("tool_input"), facts.get("tool_output")
    return {
        "name": short(facts.fields.get("tool_name"))
        or trimmed(name, known["name_prefixes"], known["name_suffixes"]),
        "input": text(_arguments(facts.get("input")) if given is None else given),
        "output": text(facts.get("output") if result is None else result) or message,
    }


def _arguments(given: Any) -> Any:
    """A call's arguments by name, where they are beside other things of a Python call."""
    keyword, others = conventions().tools["keywords"], conventions().tools["beside_keywords"]
    if not isinstance(given, str) or len(given) > _MOST_JSON or keyword[0] not in given:
        return given
    try:
        made = json.loads(given)
    except (ValueError, RecursionError):
        return given
    if not isinstance(made, dict) or not made.keys() <= {*keyword, *others}:
        return given
    by_name = made.get(keyword[0])
    return by_name if isinstance(by_name, dict) and not made.get("args") else given


def tells_of_error(output: str) -> bool:
    """Whether a result says that its tool failed, as frameworks do that then go on."""
    known = conventions().tools
    start = output[:200].lstrip(' "[{')
    if start.startswith(known["error_texts"]):
        return True
    if len(output) > _MOST_JSON or not any(flag in output for flag in known["error_flags"]):
        return False
    try:
        made = json.loads(output)
    except (ValueError, RecursionError):
        return False
    return isinstance(made, dict) and any(made.get(flag) is True for flag in known["error_flags"])
