"""Small databases, one table each, made by seed: some are trained on, some are held out."""

import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ROWS = 12
MOST_ROWS = 50
"""Of a result: a query that joins a table with itself is not read to its end."""
STEPS, STEPS_AT_ONCE = 1_000_000, 10_000
"""Of SQLite's machine that a query may take (some 50 ms), and how often that is looked at."""
READING = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    }
)


@dataclass(kw_only=True, slots=True, frozen=True)
class Table:
    """A table of things: their names, one column of categories, two of numbers."""

    name: str
    plural: str
    category: str
    categories: tuple[str, ...]
    numbers: tuple[str, str]

    @property
    def schema(self) -> str:
        """As the agent is told of it."""
        return f"{self.name}(name, {self.category}, {', '.join(self.numbers)})"


def _table(name: str, plural: str, category: str, categories: str, *numbers: str) -> Table:
    first, second = numbers
    return Table(
        name=name,
        plural=plural,
        category=category,
        categories=tuple(categories.split()),
        numbers=(first, second),
    )


TRAINED = (
    _table("city", "cities", "country", "France Japan Brazil Kenya", "population", "area"),
    _table("film", "films", "genre", "comedy drama horror western", "year", "length"),
    _table("player", "players", "team", "Reds Blues Lions Hawks", "age", "goals"),
    _table("book", "books", "author", "Woolf Orwell Morrison Borges", "pages", "price"),
    _table("hotel", "hotels", "town", "Rome Oslo Cairo Lima", "rooms", "stars"),
    _table("horse", "horses", "stable", "Ashford Millbrook Oakley", "age", "wins"),
    _table("course", "courses", "teacher", "Curie Noether Turing", "hours", "students"),
    _table("ship", "ships", "port", "Hamburg Genoa Busan", "length", "crew"),
    _table("store", "stores", "region", "north south east west", "staff", "sales"),
    _table("museum", "museums", "city", "Paris Madrid Berlin", "rooms", "visitors"),
)
HELD_OUT = (
    _table("river", "rivers", "continent", "Asia Africa Europe", "length", "depth"),
    _table("plane", "planes", "maker", "Airbus Boeing Embraer", "seats", "range"),
    _table("train", "trains", "line", "red green blue", "speed", "seats"),
    _table("farm", "farms", "crop", "wheat maize rice", "size", "workers"),
)
TABLES = {table.name: table for table in (*TRAINED, *HELD_OUT)}


def connect(name: str) -> sqlite3.Connection:
    """The database of a table, in memory, always with the same rows. Raises KeyError."""
    table = TABLES[name]
    draw = random.Random(f"headrace {name}")
    connection = sqlite3.connect(":memory:")
    first, second = table.numbers
    connection.execute(
        f'CREATE TABLE "{name}" (name TEXT, "{table.category}" TEXT, "{first}" INT, "{second}" INT)'
    )
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:ROWS]:
        row = (f"{name.title()} {letter}", draw.choice(table.categories))
        numbers = (draw.randrange(10, 100), draw.randrange(100, 1000))
        connection.execute(f'INSERT INTO "{name}" VALUES (?, ?, ?, ?)', (*row, *numbers))
    connection.set_authorizer(_may)
    left = iter(range(STEPS // STEPS_AT_ONCE))
    connection.set_progress_handler(lambda: next(left, -1) == -1, STEPS_AT_ONCE)
    return connection


def _may(action: int, *_: str | None) -> int:
    """What the agent writes may read, and nothing else: no file is attached, no pragma set."""
    return sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY


def rows_of(name: str, query: str) -> list[list[Any]]:
    """The rows of a query, as far as they are read. Raises sqlite3.Error."""
    connection = connect(name)
    try:
        return [list(row) for row in connection.execute(query).fetchmany(MOST_ROWS)]
    finally:
        connection.close()


def equal(left: Sequence[Any], right: Sequence[Any]) -> bool:
    """Whether two results have the same rows, in any order."""
    return sorted(map(repr, left)) == sorted(map(repr, right))
