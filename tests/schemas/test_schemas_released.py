"""The `.avsc` files: documented, defaulted, equal to the records, compatible with what is out."""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from headrace.schemas import (
    SCHEMA_FILES,
    CreditsBatch,
    EpisodeBatch,
    Halt,
    Outcome,
    PolicyRecord,
    Sample,
    Task,
    schema_text,
)
from headrace.schemas import codec as codec_module

AVRO = Path(codec_module.__file__).parent / "avro"
RECORDS = {
    "headrace.tasks": Task,
    "headrace.episodes": EpisodeBatch,
    "headrace.samples": Sample,
    "headrace.credits": CreditsBatch,
    "headrace.policies": PolicyRecord,
    "headrace.outcomes": Outcome,
    "headrace.halts": Halt,
}
PRIMITIVES = {
    "string": str,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "bytes": bytes,
}


def avro(topic: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(schema_text(topic))
    return schema


def records_in(schema: Any) -> list[dict[str, Any]]:
    """Every record type inside a schema, itself included."""
    if isinstance(schema, list):
        return [record for branch in schema for record in records_in(branch)]
    if not isinstance(schema, dict):
        return []
    inner = [schema.get("items"), schema.get("values")]
    inner += [field["type"] for field in schema.get("fields", [])]
    found = [record for each in inner for record in records_in(each)]
    return [schema, *found] if schema["type"] == "record" else found


def assert_same(schema: dict[str, Any], cls: Any) -> None:
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    assert schema["name"] == cls.__name__
    assert schema["doc"] == cls.__doc__
    assert [field["name"] for field in schema["fields"]] == [field.name for field in fields]
    for declared, field in zip(schema["fields"], fields, strict=True):
        where = f"{cls.__name__}.{field.name}"
        assert_same_type(declared["type"], hints[field.name], where)
        default = field.default
        if default is dataclasses.MISSING:
            assert field.default_factory is not dataclasses.MISSING, where
            default = field.default_factory()
        if declared["type"] == "bytes":
            default = default.decode("latin-1")
        assert declared["default"] == default, where
        assert type(declared["default"]) is type(default), where


def assert_same_type(declared: Any, hint: Any, where: str) -> None:
    if isinstance(declared, list):
        assert declared[0] == "null", where
        assert typing.get_origin(hint) is types.UnionType, where
        inner, none = typing.get_args(hint)
        assert none is type(None), where
        assert_same_type(declared[1], inner, where)
    elif isinstance(declared, str):
        assert PRIMITIVES[declared] is hint, where
    elif declared["type"] == "array":
        assert typing.get_origin(hint) is list, where
        assert_same_type(declared["items"], typing.get_args(hint)[0], where)
    elif declared["type"] == "map":
        assert typing.get_origin(hint) is dict, where
        assert_same_type(declared["values"], typing.get_args(hint)[1], where)
    else:
        assert_same(declared, hint)


@pytest.mark.parametrize("topic", RECORDS)
def test_each_record_equals_its_schema_field_for_field(topic: str) -> None:
    assert_same(avro(topic), RECORDS[topic])


def test_each_topic_has_a_schema_and_each_schema_a_topic() -> None:
    assert {path.name for path in AVRO.glob("*.avsc")} == set(SCHEMA_FILES.values())
    assert set(RECORDS) | {"headrace.spans"} == set(SCHEMA_FILES)


@pytest.mark.parametrize("topic", SCHEMA_FILES)
def test_every_field_has_a_default_and_says_what_it_is(topic: str) -> None:
    for record in records_in(avro(topic)):
        assert record["doc"], record["name"]
        assert record["namespace"] == "headrace", record["name"]
        for field in record["fields"]:
            where = f"{record['name']}.{field['name']}"
            assert "default" in field, where
            assert field["doc"].strip(), where


def compatibility(reader: Any, writer: Any) -> Any:
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # theirs
    return checker.get_compatibility(reader, writer)


def released() -> list[tuple[str, Path]]:
    folders = sorted((AVRO / "released").iterdir())
    return [(topic, folder / name) for folder in folders for topic, name in SCHEMA_FILES.items()]


@pytest.mark.parametrize(
    ("topic", "path"), released(), ids=lambda value: getattr(value, "name", value)
)
def test_each_schema_is_compatible_both_ways_with_every_released_one(
    topic: str, path: Path
) -> None:
    if not path.exists():
        pytest.skip(f"{topic} came after {path.parent.name}")
    now, then = parse(schema_text(topic)), parse(path.read_text(encoding="utf-8"))
    for reader, writer in ((now, then), (then, now)):
        result = compatibility(reader, writer)
        assert result.compatibility is SchemaCompatibilityType.compatible, result.messages


def test_the_checker_would_notice_a_field_without_a_default() -> None:
    changed = avro("headrace.tasks")
    changed["fields"].append({"name": "extra", "type": "string"})
    now, then = parse(json.dumps(changed)), parse(schema_text("headrace.tasks"))
    result = compatibility(now, then)
    assert result.compatibility is SchemaCompatibilityType.incompatible
