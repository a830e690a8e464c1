"""Which attempt a span belongs to. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from headrace.connectors.mapping.conventions import conventions
from headrace.schemas.ids import ID_PATTERN

_NONE = "0" * 32
_WHERE = ("project", "rollout_id", "attempt")


class Refusal(StrEnum):
    """Why a span cannot be kept."""

    NO_SPAN_ID = "no_span_id"
    NO_TRACE_ID = "no_trace_id"
    ILLEGAL_ID = "illegal_id"

    @property
    def words(self) -> str:
        """The reason in a sentence."""
        return _WORDS[self]


_WORDS = {
    Refusal.NO_SPAN_ID: "its span id is not 16 hexadecimal digits, or zeros alone",
    Refusal.NO_TRACE_ID: "its trace id is not 32 hexadecimal digits, or zeros alone, and no "
    "attribute headrace.rollout_id says where it belongs",
    Refusal.ILLEGAL_ID: "headrace.project, headrace.rollout_id or headrace.attempt (or "
    f"agentlightning's) does not match {ID_PATTERN.pattern}",
}


@dataclass(kw_only=True, slots=True, frozen=True)
class Place:
    """The attempt of a span, and the parent of its roots."""

    project: str = "default"
    rollout_id: str
    attempt: str
    root: str = ""
    """Span id that spans without a parent hang on; empty: none."""


def place_in(
    told: Mapping[str, Any], resource: Mapping[str, Any], trace_id: str, project: str
) -> Place | Refusal:
    """The place that a span's fields or its resource name, else one rollout for its trace.

    `told`: fields of the span by name; `resource`: what `named_in` found in its resource;
    `project`: of a span that names none.
    """
    named = {name: told.get(name) or resource.get(name) for name in _WHERE}
    rollout_id, attempt = named["rollout_id"], named["attempt"]
    trace = as_hex(trace_id, 32)
    if not trace and not (rollout_id and attempt):
        return Refusal.NO_TRACE_ID
    project = named["project"] or project
    rollout_id = rollout_id or f"trace-{trace}"
    attempt = attempt or trace
    for value in (project, rollout_id, attempt):
        if not isinstance(value, str) or not ID_PATTERN.fullmatch(value):
            return Refusal.ILLEGAL_ID
    return Place(project=project, rollout_id=rollout_id, attempt=attempt)


def named_in(resource: Mapping[str, Any]) -> dict[str, Any]:
    """What a resource says of the place of its spans."""
    fields = conventions().fields
    found: dict[str, tuple[int, Any]] = {}
    for name, value in resource.items():
        what, rank = fields.get(name, ("", 0))
        if what in _WHERE and value and (what not in found or rank < found[what][0]):
            found[what] = rank, value
    return {what: value for what, (_, value) in found.items()}


def as_hex(value: Any, digits: int) -> str:
    """An id in lower case; '' for what is none."""
    if not isinstance(value, str) or len(value) != digits:
        return ""
    try:
        bytes.fromhex(value)
    except ValueError:
        return ""
    return "" if value == _NONE[:digits] or not value.isalnum() else value.lower()
