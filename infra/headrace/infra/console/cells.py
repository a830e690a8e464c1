"""How a value of a table is shown: its text, its look, and the page it leads to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from headrace.infra.supervise import State
from headrace.schemas.vocabulary import (
    GroupOutcome,
    HaltState,
    MemberStatus,
    RolloutState,
    RowState,
    SampleOutcome,
    SpanStatus,
)

MISSING = "\N{EN DASH}"
BETTER, WORSE = "better", "worse"
"""Verdicts of a comparison that say something."""
GOOD: frozenset[str] = frozenset(
    {
        *(SampleOutcome.TRAINED, GroupOutcome.TRAIN, MemberStatus.USED, SpanStatus.OK),
        *(RowState.CLOSED, RowState.FINAL, RolloutState.EVALUATED, State.READY),
        *(HaltState.RESUMED, BETTER),
    }
)
BAD: frozenset[str] = frozenset(
    {
        *(SampleOutcome.DROPPED, GroupOutcome.GROUP_INCOMPLETE, GroupOutcome.REWARD_ABSENT),
        *(MemberStatus.INCOMPLETE, MemberStatus.INFRASTRUCTURE, MemberStatus.RULE_ERROR),
        *(MemberStatus.REWARD_INVALID, SpanStatus.ERROR, HaltState.HALTED, WORSE),
        *(State.SILENT, State.CRASHED, State.FAILED, State.STOPPED),
    }
)
_STATES = frozenset({"state", "status", "outcome", "outcome_a", "outcome_b", "verdict"})
_TIMES = frozenset({"newest", "created"})  # beside what ends in _at
_UNGROUPED = frozenset({"offset", "version", "partition", "position", "step", "parent"})
_OF_POLICY = frozenset({"version", "step", "parent"})  # -1 where there is none
_KEYS = frozenset(
    {"rollout_id", "attempt", "group_id", "span_id", "sample_id", "call_id", "weights"}
)
_SIGNED = frozenset(
    {"advantage", "advantage_used", "advantage_now", "advantage_a", "advantage_b", "change"}
)
_SMALL = 5e-4  # would be 0.000


@dataclass(kw_only=True, slots=True, frozen=True)
class Cell:
    """A value as a page shows it. `look` is a class of the style sheet."""

    text: str
    look: str = ""
    href: str = ""


def cell(name: str, row: Mapping[str, object]) -> Cell:
    """The value `name` of a row of an answer."""
    value = row[name]
    if value is None:
        return Cell(text=MISSING, look="none")
    if isinstance(value, bool):
        return Cell(text="yes" if value else "no")
    if value == -1 and name in _OF_POLICY:
        return Cell(text=MISSING, look="none")
    if isinstance(value, int | float):
        return Cell(text=_number(name, value), look=_look(name, value), href=_href(name, row))
    if isinstance(value, datetime) or name in _TIMES or name.endswith("_at"):
        return Cell(text=str(value)[:19], look="time")
    if name in _STATES:
        text = str(value)
        look = "chip good" if text in GOOD else "chip bad" if text in BAD else "chip"
        return Cell(text=text, look=look if text else "")
    return Cell(text=str(value), look="id" if name in _KEYS else "", href=_href(name, row))


def versions(row: Mapping[str, object]) -> str:
    """The versions that a row's samples are of, the oldest and the newest."""
    first, last = int(str(row["version_min"])), int(str(row["version_max"]))
    if last < 0:
        return MISSING
    return str(last) if first in (last, -1) else f"{first}{MISSING}{last}"


def episode_path(row: Mapping[str, object]) -> str:
    """The page of the episode that a row names by project, rollout_id and attempt."""
    return "/episodes/" + "/".join(_part(row[key]) for key in ("project", "rollout_id", "attempt"))


def text_path(row: Mapping[str, object], part: str, span: object = "") -> str:
    """The page of a long text of the episode that a row names, or of one of its spans."""
    path = episode_path(row).replace("/episodes/", "/texts/", 1) + f"/{part}"
    return f"{path}/{_part(span)}" if span else path


def version_path(policy: object, version: object) -> str:
    """The page of a policy's version."""
    return f"/policies/{_part(policy)}/{version}"


def group_path(row: Mapping[str, object]) -> str:
    """The page of the group that a row names."""
    return f"/groups/{_part(row['project'])}/{_part(row['group_id'])}"


def _href(name: str, row: Mapping[str, object]) -> str:
    known = row.keys()
    if name in ("rollout_id", "sample_id") and {"project", "rollout_id", "attempt"} <= known:
        return episode_path(row)
    if name == "group_id" and "project" in known and row["group_id"]:
        return group_path(row)
    if name == "version" and "policy" in known and str(row["version"]).isdigit():
        return version_path(row["policy"], row["version"])
    if name == "policy" and row["policy"]:
        return f"/policies/{_part(row['policy'])}"
    return ""


def _number(name: str, value: float) -> str:
    if isinstance(value, int):
        return str(value) if _is_place(name) else f"{value:,}"
    if 0 < abs(value) < _SMALL:
        return f"{value:+.2g}" if name in _SIGNED else f"{value:.2g}"
    return f"{value:+.3f}" if name in _SIGNED else f"{value:,.3f}"


def _is_place(name: str) -> bool:
    """Whether a number says where or when something is, and not how many."""
    return name.endswith(("_at", "_time", "_offset", "_id", "_version")) or name in _UNGROUPED


def _look(name: str, value: float) -> str:
    if name not in _SIGNED or value == 0:
        return "number"
    return "number plus" if value > 0 else "number minus"


def _part(value: object) -> str:
    return quote(str(value), safe="", errors="replace")
