"""Rows of tables as they are made up, and as an insert takes them."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from headrace.connectors.clickhouse.tables import TABLES, schema_of

BEGAN = 1_795_000_000_000  # milliseconds: 2026-11-18
AT_ONCE = 20_000
"""Rows that a book holds before it hands them over."""
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
Rows = dict[str, list[dict[str, Any]]]


@dataclass(slots=True)
class Book:
    """The rows of the tables, and the clock of the log."""

    rows: Rows = field(default_factory=dict)
    now: int = BEGAN
    dice: random.Random = field(default_factory=lambda: random.Random(7))

    vocabulary: dict[int, str] = field(default_factory=dict)
    """Token id -> text of every token that was sampled."""
    taker: Callable[[Rows], None] | None = None
    """Is handed the rows while they come, of a book too long to hold; None: it holds them all."""

    def add(self, table: str, **values: Any) -> None:
        """A row; columns that are not named hold their empty value."""
        self.rows.setdefault(table, []).append(values)

    def hand_over(self, least: int = AT_ONCE) -> None:
        """Give the rows to the taker, if there is one and so many of them."""
        if self.taker is not None and sum(map(len, self.rows.values())) >= least:
            self.taker(self.rows)
            self.rows = {}

    def id(self) -> str:
        """A ULID of now."""
        drawn = (self.now << 80) | self.dice.getrandbits(80)
        return "".join(_LETTERS[(drawn >> (5 * place)) & 31] for place in reversed(range(26)))


def table_of(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as an insert takes them."""
    schema, types = schema_of(table), TABLES[table]
    plain = [each for each in schema if not types[each.name].startswith("Nullable")]
    whole = [{**row, **{f.name: _filled(f.type, row.get(f.name)) for f in plain}} for row in rows]
    return pa.Table.from_pylist(whole, schema)


def _filled(kind: pa.DataType, given: Any) -> Any:
    """The value, or what ClickHouse has where there is none."""
    if pa.types.is_map(kind):
        return list((given or {}).items())
    if pa.types.is_list(kind):
        return [_filled(kind.value_type, each) for each in given or ()]
    if pa.types.is_struct(kind):
        part = given or {}
        return {each.name: _filled(each.type, part.get(each.name)) for each in kind}
    if given is not None:
        return given
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return ""
    return False if pa.types.is_boolean(kind) else 0
