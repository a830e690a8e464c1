"""ClickHouse's types in Arrow."""

import pyarrow as pa
import pytest

from headrace.connectors.clickhouse.arrow_types import arrow_type
from headrace.connectors.clickhouse.tables import TABLES, schema_of, spans_schema
from headrace.schemas.columns import SPAN_COLUMNS, Type


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("LowCardinality(String)", pa.string()),
        ("Nullable(Float64)", pa.float64()),
        ("Array(UInt32)", pa.list_(pa.uint32())),
        ("Map(LowCardinality(String), Int64)", pa.map_(pa.string(), pa.int64())),
        (
            "Array(Tuple(a Array(String), b Map(String, Bool), c Nullable(Int32)))",
            pa.list_(
                pa.struct(
                    [
                        ("a", pa.list_(pa.string())),
                        ("b", pa.map_(pa.string(), pa.bool_())),
                        ("c", pa.int32()),
                    ]
                )
            ),
        ),
    ],
)
def test_a_type_of_ours_has_its_arrow_type(declared: str, expected: pa.DataType) -> None:
    assert arrow_type(declared) == expected


@pytest.mark.parametrize("declared", ["Decimal(9, 2)", "Strin", "Array(UInt7)", ""])
def test_a_type_that_no_table_has_is_refused_by_name(declared: str) -> None:
    with pytest.raises(ValueError, match="add it to arrow_types"):
        arrow_type(declared)


def test_spans_are_folded_as_they_are_inserted_but_for_their_words() -> None:
    assert list(TABLES["spans"]) == spans_schema().names
    for column, folded, stored in zip(
        SPAN_COLUMNS, spans_schema(), schema_of("spans"), strict=True
    ):
        words = pa.types.is_dictionary(folded.type)
        assert words == (column.type is Type.WORD)
        assert (folded.type.value_type if words else folded.type) == stored.type
