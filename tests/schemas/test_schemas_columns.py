"""The table of span columns: equal to the wire's schema and to what a producer fills in."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from headrace.schemas import Call, Reward, Span, Start, schema_text
from headrace.schemas.columns import PACKED, SPAN_COLUMNS, Block, Column, Type, columns_of

ROWS = {"row": "bytes"}
LISTED = {"row": "int"}
# Of the batch itself: what is no column of a span.
FRAME = {"n": "int", "strings": "string[]", "episode": "bytes"}
BLOCKS = ("episodes", "calls", "rewards", "starts", "ends", "content")


def name_of(declared: Any) -> str:
    if isinstance(declared, list):
        return name_of(declared[1])
    if isinstance(declared, dict) and declared["type"] == "array":
        return f"{name_of(declared['items'])}[]"
    return declared if isinstance(declared, str) else str(declared["name"])


def fields_of(block: str) -> dict[str, dict[str, Any]]:
    schema: Any = json.loads(schema_text("headrace.spans"))
    if block:
        schema = next(field["type"] for field in schema["fields"] if field["name"] == block)
        schema = schema[1] if isinstance(schema, list) else schema
        schema = schema.get("items", schema)
    return {field["name"]: field for field in schema["fields"]}


def types_of(block: str) -> dict[str, str]:
    return {name: name_of(field["type"]) for name, field in fields_of(block).items()}


def plain(column: Column) -> str:
    """The Avro type of a value that is not packed."""
    numbers = {
        Type.INT32: "int",
        Type.UINT32: "int",
        Type.INT64: "long",
        Type.UINT64: "long",
        Type.BOOL: "boolean",
    }
    name = numbers.get(column.type, "string")
    return f"{name}[]" if column.many else name


def packed(block: Block) -> dict[str, str]:
    """Avro types of a block of packed columns."""
    types = {}
    for column in columns_of(block):
        if column.lengths:
            types[column.lengths] = "bytes"
        if not column.content:
            text = column.type is Type.TEXT
            types[column.field] = "string[]" if text else "bytes"
    return types


def test_the_wire_has_the_columns_of_the_table_and_no_others() -> None:
    contents = [column for column in SPAN_COLUMNS if column.content]
    batch = {c.field: plain(c) for c in columns_of(Block.BATCH) if c.name != "has_content"}
    batch |= FRAME | packed(Block.SPANS)
    assert {k: v for k, v in types_of("").items() if k not in BLOCKS} == batch
    assert types_of("calls") == ROWS | packed(Block.CALLS)
    assert types_of("rewards") == ROWS | packed(Block.REWARDS)
    for block, rest in (("episodes", {}), ("starts", LISTED), ("ends", LISTED)):
        columns = columns_of(Block(block))
        assert types_of(block) == rest | {c.field: plain(c) for c in columns}
    offsets = {f"{c.field}_offsets": "bytes" for c in contents if c.type is Type.TEXT}
    assert types_of("content") == offsets | {column.field: "bytes" for column in contents}


def test_the_wires_words_name_the_type_that_is_packed() -> None:
    for block in (Block.SPANS, Block.CALLS, Block.REWARDS):
        for column in columns_of(block):
            if column.type in (Type.SPAN_ID, Type.TEXT):
                continue
            place = "content" if column.content else "" if block is Block.SPANS else block
            doc = fields_of(place)[column.field]["doc"]
            assert doc.startswith(str(np.dtype(column.packed))), column.name


@pytest.mark.parametrize(
    ("block", "cls", "beside"),
    [
        (Block.CALLS, Call, {"runs"}),
        (Block.REWARDS, Reward, set[str]()),
        (Block.STARTS, Start, set[str]()),
        (Block.SPANS, Span, {"project", "rollout_id", "attempt", "subject"}),
    ],
)
def test_a_producer_can_fill_in_each_column_of_a_block(
    block: Block, cls: Any, beside: set[str]
) -> None:
    fields = {column.field for column in columns_of(block)} - {"run_version", "run_length"}
    given = {field.name for field in dataclasses.fields(cls)} - {"start", "call", "reward"}
    assert given == fields | beside


def test_each_column_has_a_name_of_its_own_a_meaning_and_a_source() -> None:
    names = [column.name for column in SPAN_COLUMNS]
    assert len(set(names)) == len(names)
    for column in SPAN_COLUMNS:
        assert column.doc, column.name
        assert column.blocks, column.name
        # What several blocks give is put together as words.
        assert len(column.blocks) == 1 or column.type is Type.WORD, column.name
        assert not column.lengths or column.many, column.name


def test_each_type_that_is_packed_has_a_fixed_width() -> None:
    assert {np.dtype(dtype).str for dtype in PACKED.values()} == {
        "|u1", "<u2", "<u4", "<i4", "<i8", "<f4", "<f8",
    }  # fmt: skip
