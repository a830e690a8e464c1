"""Tool calls that are none."""

import json
from typing import Any

from headrace.schemas.vocabulary import SpanKind
from headrace.streams.signals.take import Seen, Take

_GATEWAY = '"headrace.malformed_tool_calls"'
"""What the gateway notes of an answer that began a call and made none."""


def malformed_tool_calls(take: Take) -> list[int]:
    """Calls that were answered with a tool call that could not be read, or whose arguments are no
    JSON object.
    """
    noted = take.count(take.matching(take.where("kind", SpanKind.CALL), "attributes", _GATEWAY))
    answered = [_unreadable(episode) for episode in take.episodes]
    return [a + b for a, b in zip(noted, answered, strict=True)]


def _unreadable(episode: Seen) -> int:
    """Answers that are a whole message, as an upstream's are, with arguments that are no object."""
    messages = (call.output for call in episode.calls if '"tool_calls"' in call.output)
    return sum(any(not _is_object(each) for each in _arguments(text)) for text in messages)


def _arguments(text: str) -> list[str]:
    try:
        calls = json.loads(text)["tool_calls"] or []
        return [str(call["function"]["arguments"]) for call in calls]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _is_object(text: str) -> bool:
    try:
        value: Any = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)
