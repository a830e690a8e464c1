"""The words of the wire: one spelling, in the schemas, in the views and in the code."""

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from headrace.schemas import KIND, KINDS, SCHEMA_FILES, STATUSES, schema_text
from headrace.schemas.topics import Topic, dead_letters_of, is_dead_letters
from headrace.schemas.vocabulary import (
    ClosedBy,
    DropReason,
    GroupOutcome,
    HaltReason,
    HaltState,
    MemberStatus,
    RolloutState,
    RowState,
    SampleOutcome,
    SpanKind,
    SpanStatus,
    Split,
    Untrainable,
)

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "connectors/headrace/connectors/clickhouse/migrations"
PARTS = ("schemas", "connectors", "streams", "trainer", "infra", "benchmarks", "examples")
FIELDS: dict[tuple[str, str], type[StrEnum]] = {
    ("Task", "split"): Split,
    ("StartFacts", "split"): Split,
    ("Episode", "split"): Split,
    ("Episode", "closed_by"): ClosedBy,
    ("Episode", "status"): SpanStatus,
    ("EpisodeCall", "status"): SpanStatus,
    ("EpisodeTool", "status"): SpanStatus,
    ("SpanBatch", "status"): SpanStatus,
    ("Sample", "split"): Split,
    ("Credits", "split"): Split,
    ("Credits", "outcome"): GroupOutcome,
    ("Member", "status"): MemberStatus,
    ("Outcome", "outcome"): SampleOutcome,
    ("Halt", "reason"): HaltReason,
    ("Halt", "state"): HaltState,
}


def fields() -> dict[tuple[str, str], dict[str, Any]]:
    """Every field of every record on the wire."""
    found = {}

    def walk(schema: Any) -> None:
        if isinstance(schema, list):
            for branch in schema:
                walk(branch)
        elif isinstance(schema, dict):
            walk([schema.get("items"), schema.get("values")])
            for field in schema.get("fields", []):
                found[schema["name"], field["name"]] = field
                walk(field["type"])

    for topic in SCHEMA_FILES:
        walk(json.loads(schema_text(topic)))
    return found


@pytest.mark.parametrize(("where", "words"), FIELDS.items(), ids=lambda value: ".".join(value))
def test_the_schemas_name_the_words_that_a_field_may_hold(
    where: tuple[str, str], words: type[StrEnum]
) -> None:
    field = fields()[where]
    assert set(words) <= set(re.findall(r"[a-z_]+", field["doc"])), field["doc"]
    assert field["default"] in {"", *words}


def test_kinds_and_statuses_keep_their_numbers() -> None:
    assert tuple(SpanKind) == KINDS
    assert [KIND[kind] for kind in SpanKind] == list(range(len(KINDS)))
    assert tuple(SpanStatus) == STATUSES == ("unset", "ok", "error")


def test_each_topic_has_a_schema_and_a_topic_of_dead_letters() -> None:
    assert list(SCHEMA_FILES) == list(Topic)
    assert dead_letters_of(Topic.SPANS) == "headrace.spans.dlq"
    assert [topic for topic in Topic if is_dead_letters(topic)] == []
    assert all(is_dead_letters(dead_letters_of(topic)) for topic in Topic)


COMPARED: dict[str, frozenset[str]] = {
    "kind": frozenset(SpanKind),
    "state": frozenset({*RowState, *RolloutState}),
    "episode_state": frozenset(RowState),
    "group_state": frozenset(RowState),
    "group_outcome": frozenset(GroupOutcome),
    "reason": frozenset({*DropReason, *Untrainable}),
    "side": frozenset("ab"),
    "outcome": frozenset({*SampleOutcome, *GroupOutcome}),
    "split": frozenset(Split),
    "status": frozenset({*SpanStatus, *MemberStatus}),
}


def test_the_views_compare_with_words_that_exist() -> None:
    compared = []
    for path in MIGRATIONS.glob("*.sql"):
        for column, values in re.findall(
            r"\b(\w+) (?:=|!=|IN) (\('[^)]*\)|'[^']*')", path.read_text(encoding="utf-8")
        ):
            for word in re.findall(r"'([^']+)'", values):
                assert column in COMPARED, f"{path.name}: {column}"
                assert word in COMPARED[column], f"{path.name}: {column} {word}"
                compared.append(word)
    assert len(compared) >= 6


def test_no_topic_is_spelled_by_hand() -> None:
    names = "|".join(map(re.escape, Topic))
    spelled = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for part in PARTS
        for path in (ROOT / part).rglob("*.py")
        if path.name != "topics.py" or part != "schemas"
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(rf'"(?:{names})"|\.dlq"', line) and "Example:" not in line
    ]
    assert spelled == []
