"""Which attempt a span belongs to. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from headrace.connectors.mapping.conventions import conventions
from headrace.schemas.ids import ID_PATTERN

_NONE = "0" * 32
_LONGEST = 128  # of a legal id; longer ones are not to be remembered
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
    rollout_id = told.get("rollout_id") or resource.get("rollout_id")
    attempt = told.get("attempt") or resource.get("attempt")
    if not (rollout_id and attempt):
        trace = as_hex(trace_id, 32)
        if not trace:
            return Refusal.NO_TRACE_ID
        rollout_id, attempt = rollout_id or f"trace-{trace}", attempt or trace
    project = told.get("project") or resource.get("project") or project
    named = (project, rollout_id, attempt)
    if not all(isinstance(value, str) and len(value) <= _LONGEST for value in named):
        return Refusal.ILLEGAL_ID
    return _place(project, rollout_id, attempt)


@lru_cache(4_096)  # a span's neighbours are of the same attempt
def _place(project: str, rollout_id: str, attempt: str) -> Place | Refusal:
    if not all(map(ID_PATTERN.fullmatch, (project, rollout_id, attempt))):
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
