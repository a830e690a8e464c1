"""Questions about the databases: an endless supply, and some on schemas that are never trained."""

import random
from collections.abc import Iterator, Sequence

from examples.text_to_sql.databases import HELD_OUT, TRAINED, Table, rows_of
from headrace.connectors.tasks import TaskItem

RESERVED = 256
"""Held-out questions that there are."""


def train(seed: int = 0) -> Iterator[TaskItem]:
    """Random questions without end, on the schemas that are trained."""
    draw = random.Random(seed)
    while True:
        yield _task(draw, TRAINED)


def heldout(n: int = 64) -> list[TaskItem]:
    """The first `n` held-out questions, always the same, each with a seed to sample with."""
    if not 1 <= n <= RESERVED:
        raise ValueError(f"{n} held-out questions: ask for 1 to {RESERVED}")
    draw = random.Random("headrace text_to_sql")
    return [_task(draw, HELD_OUT, seed=number) for number in range(n)]


def _task(draw: random.Random, tables: Sequence[Table], **more: int) -> TaskItem:
    table = draw.choice(tables)
    question, query = _question(draw, table)
    return TaskItem(
        input={"question": question, "table": table.name, **more},
        expected=rows_of(table.name, query),
    )


def _question(draw: random.Random, table: Table) -> tuple[str, str]:
    """A question in one of its wordings, and a query that answers it."""
    number, value = draw.choice(table.numbers), draw.choice(table.categories)
    some = f"FROM {table.name} WHERE {table.category} = '{value}'"
    kinds = {
        f"SELECT count(*) {some}": (
            f"How many {table.plural} have the {table.category} {value}?",
            f"Count the {table.plural} of {table.category} {value}.",
        ),
        f"SELECT name {some}": (
            f"Which {table.plural} have the {table.category} {value}?",
            f"Name the {table.plural} of {table.category} {value}.",
        ),
        f"SELECT max({number}) FROM {table.name}": (
            f"What is the highest {number} of the {table.plural}?",
            f"What is the maximum {number}?",
        ),
        f"SELECT avg({number}) FROM {table.name}": (
            f"What is the average {number} of the {table.plural}?",
            f"What is the mean {number}?",
        ),
    }
    query = draw.choice(list(kinds))
    return draw.choice(kinds[query]), query
